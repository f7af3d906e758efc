// A sidecar as it is usually written in Go, for comparisons where upstream's program is not
// available. It uses net/http, grpc-go, klog and client_golang, in Debian's versions. It is no
// copy of upstream's, whose libraries are newer, and its figures are not upstream's.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/golang/protobuf/proto"
	"github.com/golang/protobuf/ptypes/wrappers"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
	"k8s.io/klog"
)

const (
	method  = "/csi.v1.Identity/Probe"
	timeout = time.Second
)

var (
	version  = flag.Bool("version", false, "print the versions of its parts, and exit")
	address  = flag.String("csi-address", "/run/csi/socket", "the path of the driver's socket")
	endpoint = flag.String("http-endpoint", ":9808", "where /healthz and /metrics are served")
)

// These are written by hand as protoc-gen-go would write them, because Debian has no generated CSI.
type probeRequest struct{}

func (m *probeRequest) Reset()         { *m = probeRequest{} }
func (m *probeRequest) String() string { return proto.CompactTextString(m) }
func (*probeRequest) ProtoMessage()    {}

type probeResponse struct {
	Ready *wrappers.BoolValue `protobuf:"bytes,1,opt,name=ready,proto3"`
}

func (m *probeResponse) Reset()         { *m = probeResponse{} }
func (m *probeResponse) String() string { return proto.CompactTextString(m) }
func (*probeResponse) ProtoMessage()    {}

func main() {
	klog.InitFlags(nil)
	flag.Parse()
	if *version {
		fmt.Printf("grpc-go %s, %s\n", grpc.Version, runtime.Version())
		return
	}
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "error: unknown argument %s\n", flag.Arg(0))
		os.Exit(2)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "csi_sidecar_operations_seconds",
		Help:    "How long calls to the driver took",
		Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600},
	}, []string{"method_name", "outcome"})
	registry.MustRegister(seconds)

	http.HandleFunc("/healthz", func(answer http.ResponseWriter, request *http.Request) {
		began := time.Now()
		ready, err := probe(request.Context(), strings.TrimPrefix(*address, "unix://"))
		switch {
		case err != nil:
			seconds.WithLabelValues(method, "failed").Observe(time.Since(began).Seconds())
			klog.Errorf("the probe failed: %v", err)
			http.Error(answer, err.Error(), http.StatusInternalServerError)
		case !ready:
			klog.Error("the driver is not ready")
			http.Error(answer, "driver responded but is not ready", http.StatusInternalServerError)
		default:
			seconds.WithLabelValues(method, "ok").Observe(time.Since(began).Seconds())
			klog.V(5).Info("the driver is ready")
			_, _ = answer.Write([]byte("ok"))
		}
	})
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	klog.Infof("listening on %s", *endpoint)
	klog.Fatal(http.ListenAndServe(*endpoint, nil))
}

// probe makes a new connection and the call, both under one deadline.
func probe(parent context.Context, path string) (bool, error) {
	ctx, cancel := context.WithTimeout(parent, timeout)
	defer cancel()
	connection, err := grpc.DialContext(ctx, path, grpc.WithInsecure(), grpc.WithBlock(),
		grpc.WithContextDialer(func(ctx context.Context, path string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}))
	if err != nil {
		return false, fmt.Errorf("cannot connect to %s: %w", path, err)
	}
	defer connection.Close()
	response := &probeResponse{}
	if err := connection.Invoke(ctx, method, &probeRequest{}, response); err != nil {
		return false, err
	}
	// Absent means ready.
	return response.Ready == nil || response.Ready.Value, nil
}
