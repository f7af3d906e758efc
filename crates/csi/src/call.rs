//! A gRPC call over a socket that is already connected. Only this module, and those that describe
//! methods (`messages`, `identity`, `grpc_health`), use the package grpcio.

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
use crate::code::Code;
use crate::deadline::Deadline;
use crate::error::CallError;
use crate::read_limit::ReadLimit;

/// The number of descriptors that a call needs: the driver's connection, and gRPC's epoll and
/// eventfd.
pub const DESCRIPTORS_OF_A_CALL: usize = 3;

/// The most that a driver may send in one call, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// The longest message. gRPC's default is 4 MiB, all of which this process would hold.
    pub message: i32,
    /// The limit on everything that is read: the message, the metadata before and after it, and the
    /// HTTP/2 frames around them. The read that exceeds it may be as large as all reads before it.
    pub read: usize,
}

impl CallLimits {
    /// The limits for short replies, such as those of the Identity service: GetPluginInfo's is the
    /// longest, with a name, a version and the vendor's manifest.
    pub const SHORT: CallLimits = CallLimits {
        message: 16 * 1024,
        read: 160 * 1024,
    };
}

/// The most metadata that a driver may send before its reply, and the most after it, in bytes as
/// HTTP/2 counts them: name, value and 32 for each entry (RFC 9113, section 10.5.1). 64 KiB are for
/// the driver, whose interceptors for tracing and authentication send some, and one is for gRPC.
const METADATA_MAX: i32 = 65 * 1024;

/// Redirects C-core's log to the `log` package: its errors, or with `everything` also its other
/// lines, which are at least three for each call.
pub fn redirect_c_core_log(everything: bool) {
    // grpcio derives C-core's verbosity from the level that is set during this call.
    let level = log::max_level();
    if !everything {
        log::set_max_level(log::LevelFilter::Error);
    }
    grpcio::redirect_log();
    log::set_max_level(level);
}

/// Makes calls. It owns gRPC's one thread, which all calls share.
pub struct Caller {
    environment: Arc<Environment>,
}

impl Caller {
    /// Starts gRPC's thread.
    ///
    /// # Errors
    ///
    /// The kernel refuses the thread or its descriptors.
    pub fn new() -> Result<Caller, String> {
        // C-core ends the process by SIGABRT if it cannot open the descriptors that it waits with.
        // So we open and close as many first, and a few more.
        [(); 2]
            .map(|()| io::pipe())
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("gRPC cannot have its descriptors: {error}"))?;
        // grpcio's default is one queue, and so one thread, for each core.
        panics::catch(|| EnvBuilder::new().cq_count(1).name_prefix("grpc").build())
            .map(|environment| {
                let environment = Arc::new(environment);
                Caller { environment }
            })
            .map_err(|panic| format!("gRPC cannot start its thread: {panic}"))
    }

    /// Calls `method` over `socket`, which it closes afterwards, and waits for the reply until the
    /// deadline, or [`READ_GRACE`](crate::READ_GRACE) longer if the reply has arrived by then.
    ///
    /// # Errors
    ///
    /// The status with which the driver or gRPC ended the call; `RESOURCE_EXHAUSTED` if the driver
    /// sent more than the limits allow; `DEADLINE_EXCEEDED` after the deadline; `INTERNAL` if the
    /// reply cannot be decoded, or if gRPC panics on it.
    pub fn call<Request, Reply: Unpin>(
        &self,
        method: &Method<Request, Reply>,
        request: &Request,
        socket: OwnedFd,
        address: &CsiAddress,
        deadline: Deadline,
        limits: CallLimits,
    ) -> Result<Reply, CallError> {
        let timeout = deadline.at().saturating_duration_since(Instant::now());
        let read_limit = ReadLimit::new(&socket, limits.read);
        let result = panics::catch(|| {
            let client = Client::new(self.channel(socket, address, limits));
            let options = CallOption::default().timeout(timeout);
            let reply = client.unary_call_async(method, request, options)?;
            // This line is load-bearing: only it ends the call at the deadline. gRPC sends the
            // deadline to the driver, but we leave out the filter that would enforce it
            // (linked/plugins.rs), and its timers (linked/unthreaded.rs).
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
            // A server that enforces the deadline may report it before this side does, and in
            // another text.
            Ok(Err(Error::RpcFailure(_))) if Instant::now() >= deadline.at() => {
                Err(timed_out(method.name, address, deadline))
            }
            Ok(Err(Error::RpcFailure(status))) => {
                let code = Code(status.code().into());
                Err(CallError::new(code, &explain(status.message())))
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
    fn channel(&self, socket: OwnedFd, address: &CsiAddress, limits: CallLimits) -> Channel {
        let builder = ChannelBuilder::new(Arc::clone(&self.environment))
            .default_authority(address.authority())
            .max_receive_message_len(limits.message)
            // C-core derives its soft limit from this one, as four fifths of it, and
            // linked/metadata.rs makes the soft limit the only one.
            .raw_cfg_int(
                c"grpc.absolute_max_metadata_size".to_owned(),
                METADATA_MAX / 4 * 5,
            )
            // C-core checks the length of a compressed message only after it has decompressed all
            // of it, so 16 KiB may become 16 MB. These two lines offer the driver no compression
            // and turn decompression off.
            .raw_cfg_int(c"grpc.per_message_decompression".to_owned(), 0)
            .raw_cfg_int(c"grpc.compression_enabled_algorithms_bitset".to_owned(), 1)
            // These two lines are load-bearing for memory safety. C-core sets the timers of its
            // pings through the event engine, and linked/unthreaded.rs makes that a null pointer,
            // so C-core must never send a ping. The second line looks redundant and is not:
            // i32::MAX as an argument means infinity, but the default, i32::MAX milliseconds, means
            // 24 days, for which each channel would set a timer when it is made (docs/c-core.md).
            .raw_cfg_int(c"grpc.http2.bdp_probe".to_owned(), 0)
            .raw_cfg_int(c"grpc.keepalive_time_ms".to_owned(), i32::MAX);
        // `connect_from_fd` makes a direct channel, which has neither resolver nor load balancer
        // nor timers; linked/plugins.rs leaves all of them out. Only channels with a resolver retry
        // and use http_proxy, so no argument turns these off: C-core would copy each argument
        // several times for each call.
        // SAFETY: `socket` is a connected stream socket. By giving up its OwnedFd we make gRPC its
        // only owner, which closes it with the channel.
        unsafe { builder.connect_from_fd("csi-driver", socket.into_raw_fd()) }
    }
}

/// Replaces two of C-core's messages by one that leads to the cause. Any other message stays as it
/// is.
fn explain(message: &str) -> Cow<'_, str> {
    match (http_status(message), message) {
        (Some(status), _) => format!("a proxy answers for the driver (HTTP {status})").into(),
        // C-core ends a stream with this message if the reply has another content type than gRPC's,
        // or headers that break the rules.
        (None, "Stream removed") => "the reply is not one of gRPC's (Stream removed)".into(),
        (None, message) => message.into(),
    }
}

/// The HTTP status in C-core's message about a reply without a gRPC status and with another HTTP
/// status than 200 (http_client_filter.cc). A gRPC server never sends such a reply; a proxy does if
/// it cannot reach the server behind it, or has none.
fn http_status(message: &str) -> Option<u16> {
    message
        .strip_prefix("Received http2 header with status: ")?
        .parse()
        .ok()
}

/// The error for a panic in a call. grpcio panics if the driver sends status OK and no message
/// (`call/client.rs` of 0.13.0), which is the driver's fault. A panic at any other place is a bug
/// of this program and says nothing about the driver.
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

/// The error for a call that timed out. The thread that makes a call and those that wait for its
/// result all use it, so the text does not depend on which of them notices first.
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
    fn an_http_status_is_found_in_c_core_s_message_alone() {
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
    fn only_a_panic_in_grpcio_is_blamed_on_the_driver() {
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
