//! The service csi.v1.Identity, with messages encoded by hand.

use std::convert::Infallible;
use std::future::{pending, ready};
use std::sync::Arc;

use bytes::Bytes;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Code, Request, Response, Status};
use tower::service_fn;

use crate::event;
use crate::options::Options;
use crate::raw::Raw;

pub async fn answer(
    options: Arc<Options>,
    reply: Bytes,
    request: http::Request<Body>,
) -> Result<http::Response<Body>, Infallible> {
    let mut grpc = Grpc::new(Raw);
    Ok(match request.uri().path() {
        "/csi.v1.Identity/Probe" => {
            let probe = service_fn(|_: Request<Bytes>| probe(Arc::clone(&options), reply.clone()));
            grpc.unary(probe, request).await
        }
        "/csi.v1.Identity/GetPluginInfo" => {
            let info = service_fn(|_: Request<Bytes>| ready(get_plugin_info(&options)));
            grpc.unary(info, request).await
        }
        _ => Status::new(Code::Unimplemented, "").into_http(),
    })
}

fn get_plugin_info(options: &Options) -> Result<Response<Bytes>, Status> {
    event("GetPluginInfo");
    if let Some(code) = options.info_error {
        return Err(Status::new(Code::from(code), ""));
    }
    let mut reply = field(1, options.name.as_bytes());
    reply.extend(field(2, env!("CARGO_PKG_VERSION").as_bytes()));
    Ok(Response::new(reply.into()))
}

/// A Probe in flight. tonic drops the future of a call when the caller gives it up, which
/// ends the Probe, too.
struct Probing;

impl Probing {
    fn begin() -> Probing {
        event("probe begin");
        Probing
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        event("probe end");
    }
}

async fn probe(options: Arc<Options>, reply: Bytes) -> Result<Response<Bytes>, Status> {
    let probing = Probing::begin();
    if options.hang {
        pending::<()>().await;
    }
    tokio::time::sleep(options.delay).await;
    drop(probing);
    if let Some(code) = options.error {
        return Err(Status::new(Code::from(code), options.message.as_str()));
    }
    Ok(Response::new(reply))
}

/// Returns the reply of a Probe that does not fail.
pub fn reply(options: &Options) -> Bytes {
    let mut reply = Vec::new();
    if let Some(ready) = options.ready {
        reply.extend(field(1, if ready { &[8, 1] } else { &[] }));
    }
    if options.padding > 0 {
        reply.extend(field(1_000, &vec![b'x'; options.padding]));
    }
    reply.into()
}

/// Encodes a protobuf field of bytes: a string or a message.
fn field(number: usize, content: &[u8]) -> Vec<u8> {
    let mut field = Vec::with_capacity(content.len() + 16);
    for mut number in [(number << 3) | 2, content.len()] {
        while number >= 0x80 {
            field.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        field.push(number.to_le_bytes()[0]);
    }
    field.extend(content);
    field
}
