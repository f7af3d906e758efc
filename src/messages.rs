//! The messages that `build.rs` generates from `proto/`, and how a method that
//! takes and gives them is described.

use grpcio::{Marshaller, Method, MethodType, pb_de, pb_ser};
use protobuf::Message;

#[allow(
    missing_docs,
    clippy::pedantic,
    clippy::unwrap_used,
    reason = "generated"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/proto/mod.rs"));
}

pub use generated::{csi_identity, grpc_health};

/// The description of a method of one request and one reply.
pub const fn unary<Request: Message, Reply: Message>(name: &'static str) -> Method<Request, Reply> {
    Method {
        ty: MethodType::Unary,
        name,
        req_mar: Marshaller {
            ser: pb_ser,
            de: pb_de,
        },
        resp_mar: Marshaller {
            ser: pb_ser,
            de: pb_de,
        },
    }
}
