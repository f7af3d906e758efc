//! gRPC's health service, which a driver may offer in addition to CSI's Identity.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>

use grpcio::Method;

use crate::messages::unary;

pub use crate::messages::grpc_health::health_check_response::ServingStatus;
pub use crate::messages::grpc_health::{HealthCheckRequest, HealthCheckResponse};

/// `grpc.health.v1.Health/Check`, which asks whether a service is serving.
pub const CHECK: Method<HealthCheckRequest, HealthCheckResponse> =
    unary("/grpc.health.v1.Health/Check");
