//! gRPC's own health service: what a driver may have besides CSI's Identity.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>

use grpcio::Method;

use crate::messages::unary;

pub use crate::messages::grpc_health::health_check_response::ServingStatus;
pub use crate::messages::grpc_health::{HealthCheckRequest, HealthCheckResponse};

/// `grpc.health.v1.Health/Check`: does a service serve?
pub const CHECK: Method<HealthCheckRequest, HealthCheckResponse> =
    unary("/grpc.health.v1.Health/Check");
