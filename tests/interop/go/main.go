// A CSI driver's Identity service on grpc-go, which nearly every driver uses. The flags and
// the lines on stdout are those of examples/csi_driver.rs, which explains them.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	version     = flag.Bool("version", false, "say what this is made of, and end")
	address     = flag.String("address", "/tmp/csi-driver/csi.sock", "where to listen")
	name        = flag.String("name", "example.csi.livenessprobe", "the name that GetPluginInfo returns")
	_           = flag.Bool("ready", false, "Probe answers ready=true (the default)")
	readyAbsent = flag.Bool("ready-absent", false, "Probe answers without the field")
	notReady    = flag.Bool("not-ready", false, "Probe answers ready=false")
	failure     = flag.Uint("error", 0, "Probe fails with this code")
	message     = flag.String("message", "", "the text of that failure")
	infoFailure = flag.Uint("info-error", 0, "GetPluginInfo fails with this code")
	padding     = flag.Uint("padding", 0, "so many bytes of an unknown field in Probe's reply")
	delay       = flag.Duration("delay", 0, "Probe answers after this time")
	hang        = flag.Bool("hang", false, "Probe never answers")
)

func main() {
	flag.Parse()
	if *version {
		fmt.Printf("grpc-go %s, %s\n", grpc.Version, runtime.Version())
		return
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "driver:", err)
		os.Exit(2)
	}
}

func serve() error {
	if flag.NArg() > 0 {
		return fmt.Errorf("unknown argument %s", flag.Arg(0))
	}
	listener, err := listen(*address)
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	// It is made once, because the padding may be hundreds of megabytes.
	reply := reply()
	server := grpc.NewServer()
	register(server, getPluginInfo, func() (interface{}, error) { return probe(reply) })
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	fmt.Println("listening")
	select {
	case err := <-served:
		return err
	case <-stop:
		server.GracefulStop()
		return nil
	}
}

func listen(address string) (net.Listener, error) {
	if strings.HasPrefix(address, "unix-abstract:") {
		// The package net writes the null byte as @.
		return net.Listen("unix", "@"+strings.TrimPrefix(address, "unix-abstract:"))
	}
	path := strings.TrimPrefix(address, "unix:")
	if path == address && !strings.HasPrefix(address, "/") {
		return net.Listen("tcp", address)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	// A driver that was killed may have left its socket, which CSI drivers remove.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", path)
}

func getPluginInfo() (interface{}, error) {
	fmt.Println("GetPluginInfo")
	if *infoFailure != 0 {
		return nil, status.Error(codes.Code(*infoFailure), "")
	}
	return &GetPluginInfoResponse{Name: *name, VendorVersion: grpc.Version}, nil
}

func probe(reply *ProbeResponse) (interface{}, error) {
	fmt.Println("probe begin")
	if *hang {
		select {}
	}
	time.Sleep(*delay)
	fmt.Println("probe end")
	if *failure != 0 {
		return nil, status.Error(codes.Code(*failure), *message)
	}
	return reply, nil
}
