//! gRPC's own health service: what a driver may have besides CSI's Identity.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>

use grpcio::{Marshaller, Method, MethodType, pb_de, pb_ser};

pub use crate::messages::grpc_health::health_check_response::ServingStatus;
pub use crate::messages::grpc_health::{HealthCheckRequest, HealthCheckResponse};

/// `grpc.health.v1.Health/Check`: does a service serve?
pub const CHECK: Method<HealthCheckRequest, HealthCheckResponse> = Method {
    ty: MethodType::Unary,
    name: "/grpc.health.v1.Health/Check",
    req_mar: Marshaller {
        ser: pb_ser,
        de: pb_de,
    },
    resp_mar: Marshaller {
        ser: pb_ser,
        de: pb_de,
    },
};
