//! The messages of `proto/`, and the descriptions of gRPC methods.
//!
//! protobuf-codegen generated the modules below, without reflection, which no code here uses. `make
//! messages` generates them again, and a test compares the results.
//!
//! Rejected: grpcio-compiler, which would generate clients as well, because its release 0.13 drags
//! rust-protobuf 2 (RUSTSEC-2024-0437) into the lock file.

use grpcio::{Marshaller, Method, MethodType, pb_de, pb_ser};
use protobuf::Message;

#[allow(
    missing_docs,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated"
)]
pub mod csi_identity;
#[allow(
    missing_docs,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated"
)]
pub mod grpc_health;

/// Describes a method with one request and one reply.
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

/// Describes a method that is called with an empty message and whose reply is not decoded.
#[must_use]
pub fn without_fields(path: &'static str) -> Method<(), ()> {
    const NOTHING: Marshaller<()> = Marshaller {
        ser: |(), _| Ok(()),
        de: |_| Ok(()),
    };
    Method {
        ty: MethodType::Unary,
        name: path,
        req_mar: NOTHING,
        resp_mar: NOTHING,
    }
}
