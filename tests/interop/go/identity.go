// csi.v1.Identity by hand, as protoc-gen-go would write it: Debian has grpc-go, and
// no generated CSI.
package main

import (
	"bytes"
	"context"

	"github.com/golang/protobuf/proto"
	"github.com/golang/protobuf/ptypes/wrappers"
	"google.golang.org/grpc"
)

type empty struct{}

func (m *empty) Reset()         { *m = empty{} }
func (m *empty) String() string { return proto.CompactTextString(m) }
func (*empty) ProtoMessage()    {}

// GetPluginInfoResponse is csi.v1's, less the manifest.
type GetPluginInfoResponse struct {
	Name          string `protobuf:"bytes,1,opt,name=name,proto3"`
	VendorVersion string `protobuf:"bytes,2,opt,name=vendor_version,json=vendorVersion,proto3"`
}

func (m *GetPluginInfoResponse) Reset()         { *m = GetPluginInfoResponse{} }
func (m *GetPluginInfoResponse) String() string { return proto.CompactTextString(m) }
func (*GetPluginInfoResponse) ProtoMessage()    {}

// ProbeResponse is csi.v1's.
type ProbeResponse struct {
	Ready *wrappers.BoolValue `protobuf:"bytes,1,opt,name=ready,proto3"`
	// Sent as it is.
	XXX_unrecognized []byte
}

func (m *ProbeResponse) Reset()         { *m = ProbeResponse{} }
func (m *ProbeResponse) String() string { return proto.CompactTextString(m) }
func (*ProbeResponse) ProtoMessage()    {}

func reply() *ProbeResponse {
	response := &ProbeResponse{}
	if !*readyAbsent {
		response.Ready = &wrappers.BoolValue{Value: !*notReady}
	}
	if *padding > 0 {
		field := append(proto.EncodeVarint(1000<<3|proto.WireBytes), proto.EncodeVarint(uint64(*padding))...)
		response.XXX_unrecognized = append(field, bytes.Repeat([]byte("x"), int(*padding))...)
	}
	return response
}

// A method whose request has no fields.
func method(name string, handle func() (interface{}, error)) grpc.MethodDesc {
	return grpc.MethodDesc{
		MethodName: name,
		Handler: func(_ interface{}, _ context.Context, decode func(interface{}) error, _ grpc.UnaryServerInterceptor) (interface{}, error) {
			if err := decode(&empty{}); err != nil {
				return nil, err
			}
			return handle()
		},
	}
}

func register(server *grpc.Server, getPluginInfo, probe func() (interface{}, error)) {
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "csi.v1.Identity",
		// Any type serves it.
		HandlerType: (*interface{})(nil),
		Methods: []grpc.MethodDesc{
			method("GetPluginInfo", getPluginInfo),
			method("Probe", probe),
		},
	}, struct{}{})
}
