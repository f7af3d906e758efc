//! The gRPC call itself, over a socket that is already connected. The owner of
//! the package grpcio, with `identity`.

use std::borrow::Cow;
use std::io;
use std::os::fd::{IntoRawFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use grpcio::{
    CallOption, Channel, ChannelBuilder, Client, ClientUnaryReceiver, EnvBuilder, Environment,
    Error, Method,
};

use program::duration;
use program::panics::{self, Panic};

use crate::address::CsiAddress;
use crate::deadline::Deadline;
use crate::error::{CallError, Code};
use crate::read_limit::ReadLimit;

/// How many descriptors a call takes: the driver's connection, and gRPC's epoll and eventfd.
pub const DESCRIPTORS_OF_A_CALL: usize = 3;

/// How much a driver may send in one call, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest message. gRPC's own default would let a driver make us hold 4 MiB.
    pub message: i32,
    /// All that is read, but for the read that passes it, which is as large as all before it at
    /// most: the message, the metadata before and behind it, and what HTTP/2 puts around them.
    pub read: usize,
}

impl Limits {
    /// For short replies: Probe's has four bytes, GetPluginInfo's a name, a version and the
    /// vendor's manifest.
    pub const SHORT: Limits = Limits {
        message: 16 * 1024,
        read: 160 * 1024,
    };
}

/// The most metadata that is received before a reply, and the most behind it, in bytes as HTTP/2
/// counts them: name, value and 32 for each entry (RFC 9113, section 10.5.1). Interceptors
/// for tracing and authentication send some, and 64 KiB of a driver's own are to pass; the
/// last one is for gRPC's.
const METADATA_MAX: i32 = 65 * 1024;

/// Has C-core log through the `log` package, what is errors at the least, and all
/// of it where `everything` is wanted: three lines and more for each probe.
pub fn log_through_us(everything: bool) {
    // It chooses what it logs by the level that is set now.
    let level = log::max_level();
    if !everything {
        log::set_max_level(log::LevelFilter::Error);
    }
    grpcio::redirect_log();
    log::set_max_level(level);
}

/// gRPC's thread, started once and shared by all calls.
pub struct Caller {
    environment: Arc<Environment>,
}

impl Caller {
    /// Starts gRPC.
    ///
    /// # Errors
    ///
    /// When a thread or its descriptors cannot be had.
    pub fn new() -> Result<Caller, String> {
        // C-core ends the process by SIGABRT where it cannot have the descriptors that it
        // waits with. So as many, and some more, are opened and closed here first.
        [(); 2]
            .map(|()| io::pipe())
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("gRPC cannot have its descriptors: {error}"))?;
        // One queue: grpcio's default is one, with a thread, per core.
        panics::caught(|| EnvBuilder::new().cq_count(1).name_prefix("grpc").build())
            .map(|environment| {
                let environment = Arc::new(environment);
                Caller { environment }
            })
            .map_err(|panic| format!("gRPC cannot start its thread: {panic}"))
    }

    /// Calls `method` over `socket`, which is closed afterwards, until the deadline.
    ///
    /// # Errors
    ///
    /// The status that the driver or gRPC ended the call with.
    pub fn call<Request, Reply: Unpin>(
        &self,
        method: &Method<Request, Reply>,
        request: &Request,
        socket: OwnedFd,
        address: &CsiAddress,
        deadline: Deadline,
        limits: Limits,
    ) -> Result<Reply, CallError> {
        let timeout = deadline.at().saturating_duration_since(Instant::now());
        let read_limit = ReadLimit::new(&socket, limits.read);
        let result = panics::caught(|| {
            let client = Client::new(self.channel(socket, address, limits));
            let options = CallOption::default().timeout(timeout);
            let reply = client.unary_call_async(method, request, options)?;
            // gRPC sends the driver the deadline, and only this line keeps it: the filter that
            // would is left out (linked/plugins.rs), and so are timers (linked/unthreaded.rs).
            read_limit.wait_for(reply, deadline.at(), ClientUnaryReceiver::cancel)
        });
        match result {
            Ok(Ok(reply)) => Ok(reply),
            _ if read_limit.is_exhausted() => Err(CallError::new(
                Code::RESOURCE_EXHAUSTED,
                &format!(
                    "the driver's reply to {} is far too large: more than {} bytes",
                    method.name, limits.read
                ),
            )),
            // Whoever says first that the time is over: this side, or a server that
            // keeps the deadline by itself, in words of its own.
            Ok(Err(Error::RpcFailure(_))) if Instant::now() >= deadline.at() => {
                Err(timed_out(method.name, address, deadline))
            }
            Ok(Err(Error::RpcFailure(status))) => {
                let code = Code(status.code().into());
                Err(CallError::new(code, &explained(status.message())))
            }
            Ok(Err(Error::Codec(error))) => Err(CallError::new(
                Code::INTERNAL,
                &format!(
                    "the driver's reply to {} cannot be decoded: {error}",
                    method.name
                ),
            )),
            Ok(Err(error)) => Err(CallError::new(Code::INTERNAL, &error.to_string())),
            Err(panic) => Err(panicked(&panic, method.name)),
        }
    }

    #[allow(
        unsafe_code,
        reason = "see SAFETY; the other way is a resolver, see linked/plugins.rs"
    )]
    fn channel(&self, socket: OwnedFd, address: &CsiAddress, limits: Limits) -> Channel {
        let builder = ChannelBuilder::new(Arc::clone(&self.environment))
            .default_authority(address.authority())
            .max_receive_message_len(limits.message)
            // C-core's first limit is four fifths of this one, and is the one that counts:
            // linked/metadata.rs.
            .raw_cfg_int(
                c"grpc.absolute_max_metadata_size".to_owned(),
                METADATA_MAX / 4 * 5,
            )
            // An inflated message is looked at only when all of it is there: 16 KiB
            // become 16 MB. Nothing but identity is offered, and nothing is inflated.
            .raw_cfg_int(c"grpc.per_message_decompression".to_owned(), 0)
            .raw_cfg_int(c"grpc.compression_enabled_algorithms_bitset".to_owned(), 1)
            // Both lines keep the process from a null pointer: C-core sets the timers of its
            // pings through the event engine, which linked/unthreaded.rs leaves out. Without
            // the second line it would set one for each channel, because i32::MAX is infinity
            // for an argument, and 24 days for the default (docs/c-core.md).
            .raw_cfg_int(c"grpc.http2.bdp_probe".to_owned(), 0)
            .raw_cfg_int(c"grpc.keepalive_time_ms".to_owned(), i32::MAX);
        // A direct channel, without resolver, balancer and timers: linked/plugins.rs has none.
        // Retries and http_proxy are of channels with a resolver, and compression is off:
        // each word about them would be copied several times for each probe.
        // SAFETY: `socket` is a connected stream socket, and giving up its
        // OwnedFd makes gRPC its only user and owner: it closes it with the
        // channel.
        unsafe { builder.connect_from_fd("csi-driver", socket.into_raw_fd()) }
    }
}

/// What C-core says, in words that lead somewhere, where its own do not. All else is passed on.
fn explained(message: &str) -> Cow<'_, str> {
    match (http_status(message), message) {
        (Some(status), _) => format!("a proxy answers for the driver (HTTP {status})").into(),
        // Its words for a stream that it has ended because of what came in it: a content type
        // that is not gRPC's, headers that break the rules.
        (None, "Stream removed") => "the reply is not one of gRPC's (Stream removed)".into(),
        (None, message) => message.into(),
    }
}

/// The status of HTTP in what C-core says of a reply that has one but 200, and none of gRPC's
/// (its http_client_filter.cc). No gRPC server answers so; what does is a proxy in front of
/// one that it cannot reach or has not got.
fn http_status(message: &str) -> Option<u16> {
    message
        .strip_prefix("Received http2 header with status: ")?
        .parse()
        .ok()
}

/// What a panic in a call means. The package grpcio panics by itself on a reply of status OK
/// that has no message, which is the driver's doing. A panic at any other place is a bug of
/// this program, and says nothing of the driver.
fn panicked(panic: &Panic, method: &str) -> CallError {
    if !panic.is_in("grpcio") {
        return CallError::of_a_bug(panic);
    }
    CallError::new(
        Code::INTERNAL,
        &format!(
            "gRPC panicked ({panic}), as it does on a reply to {method} that is OK but has no message"
        ),
    )
}

/// The error for a call that timed out. The caller and whoever waits for it both use it, so the
/// text does not depend on who notices first.
#[must_use]
pub fn timed_out(method: &str, address: &CsiAddress, deadline: Deadline) -> CallError {
    let timeout = duration::format(deadline.timeout());
    CallError::new(
        Code::DEADLINE_EXCEEDED,
        &format!(
            "context deadline exceeded: no answer to {method} from {address} within {timeout}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_of_http_is_found_in_c_core_s_words_alone() {
        for (message, status) in [
            ("Received http2 header with status: 502", Some(502)),
            ("Received http2 header with status: 404", Some(404)),
            ("Received http2 header with status: ", None),
            ("Received http2 header with status: 502 and more", None),
            ("disk on fire", None),
        ] {
            assert_eq!(http_status(message), status, "{message}");
        }
    }

    #[test]
    fn a_panic_is_blamed_on_the_driver_only_where_grpcio_has_it() {
        let theirs = Panic::at("no message", "/packages/grpcio-0.13.0/src/call/client.rs");
        let error = panicked(&theirs, "/csi.v1.Identity/Probe");
        assert_eq!(
            error.message,
            "gRPC panicked (no message, at grpcio-0.13.0/src/call/client.rs:7:9), as it does on \
             a reply to /csi.v1.Identity/Probe that is OK but has no message"
        );
        for file in [
            "crates/csi/src/call.rs",
            "/packages/protobuf-3.7.2/src/lib.rs",
        ] {
            let error = panicked(&Panic::at("out of bounds", file), "/csi.v1.Identity/Probe");
            assert_eq!(error.code, Code::INTERNAL);
            assert!(
                error.message.starts_with(
                    "this sidecar has a bug, and the driver has no part in it: out of bounds, at "
                ),
                "{error}"
            );
            assert!(error.message.ends_with(".rs:7:9"), "{error}");
        }
    }
}
