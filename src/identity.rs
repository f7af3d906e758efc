//! The CSI Identity service: its messages, and the descriptions of its two methods
//! that are called here.
//!
//! <https://github.com/container-storage-interface/spec/blob/master/spec.md#identity-service-rpc>

use grpcio::{Marshaller, Method, MethodType, pb_de, pb_ser};

pub use crate::messages::csi_identity::{
    GetPluginInfoRequest, GetPluginInfoResponse, ProbeRequest, ProbeResponse,
};

/// `csi.v1.Identity/Probe`: is the driver healthy, and is it ready?
pub const PROBE: Method<ProbeRequest, ProbeResponse> = Method {
    ty: MethodType::Unary,
    name: "/csi.v1.Identity/Probe",
    req_mar: Marshaller {
        ser: pb_ser,
        de: pb_de,
    },
    resp_mar: Marshaller {
        ser: pb_ser,
        de: pb_de,
    },
};

/// `csi.v1.Identity/GetPluginInfo`: what is the driver's name?
pub const GET_PLUGIN_INFO: Method<GetPluginInfoRequest, GetPluginInfoResponse> = Method {
    ty: MethodType::Unary,
    name: "/csi.v1.Identity/GetPluginInfo",
    req_mar: Marshaller {
        ser: pb_ser,
        de: pb_de,
    },
    resp_mar: Marshaller {
        ser: pb_ser,
        de: pb_de,
    },
};
