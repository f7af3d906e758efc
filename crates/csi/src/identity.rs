//! The CSI Identity service: the messages and descriptions of two of its methods.
//!
//! <https://github.com/container-storage-interface/spec/blob/master/spec.md#identity-service-rpc>

use grpcio::Method;

use crate::messages::unary;

pub use crate::messages::csi_identity::{
    GetPluginInfoRequest, GetPluginInfoResponse, ProbeRequest, ProbeResponse,
};

/// `csi.v1.Identity/Probe`, which asks whether the driver is healthy and ready.
pub const PROBE: Method<ProbeRequest, ProbeResponse> = unary("/csi.v1.Identity/Probe");

/// `csi.v1.Identity/GetPluginInfo`, which asks for the driver's name.
pub const GET_PLUGIN_INFO: Method<GetPluginInfoRequest, GetPluginInfoResponse> =
    unary("/csi.v1.Identity/GetPluginInfo");
