//! The CSI Identity service: its messages, and the descriptions of its two methods
//! that are called here.
//!
//! <https://github.com/container-storage-interface/spec/blob/master/spec.md#identity-service-rpc>

use grpcio::Method;

use crate::messages::unary;

pub use crate::messages::csi_identity::{
    GetPluginInfoRequest, GetPluginInfoResponse, ProbeRequest, ProbeResponse,
};

/// `csi.v1.Identity/Probe`: is the driver healthy, and is it ready?
pub const PROBE: Method<ProbeRequest, ProbeResponse> = unary("/csi.v1.Identity/Probe");

/// `csi.v1.Identity/GetPluginInfo`: what is the driver's name?
pub const GET_PLUGIN_INFO: Method<GetPluginInfoRequest, GetPluginInfoResponse> =
    unary("/csi.v1.Identity/GetPluginInfo");
