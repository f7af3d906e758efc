//! The messages of `proto/`, and how a method that takes and gives them is
//! described.
//!
//! The modules below are protobuf-codegen's work, without reflection, which nobody
//! here asks for; `make messages` makes them anew, and a test holds them to it.
//! grpcio-compiler would make the clients, too, but its 0.13 release drags
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
