//! The gRPC call itself, over a socket that is already connected. The owner of
//! the package grpcio, with `identity`.

use std::os::fd::{IntoRawFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use grpcio::{
    CallOption, Channel, ChannelBuilder, Client, CompressionAlgorithms, EnvBuilder, Environment,
    Error, Method, ResourceQuota,
};

use super::Window;
use super::outcome::{CallError, Code};
use crate::address::CsiAddress;
use crate::duration;
use crate::panics;

/// The longest message that is received, in bytes. A Probe's reply has four,
/// GetPluginInfo's a name, a version and the vendor's manifest, and gRPC's own
/// default would let a driver make us hold 4 MiB.
const MESSAGE_MAX: i32 = 16 * 1024;

/// What gRPC may hold of a connection, in bytes, before it gives up the call. It
/// looks at `MESSAGE_MAX` when all of a message is there, and flow control lets it
/// come however long it says it is: without this a reply of 200 MB made this
/// process 200 MB large before it was refused. A call that is as it should be
/// takes some 50 KiB.
const HELD_MAX: usize = 1024 * 1024;

/// What C-core says when it gives up a call because of `HELD_MAX`.
const CORE_FULL: &str = "Buffers full";

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

/// gRPC's threads, started once and shared by all calls.
pub struct Caller {
    environment: Arc<Environment>,
    /// Never called. While there is a channel, C-core keeps its event engine;
    /// without one it ends those threads with each call and starts them with the
    /// next, and the call for which none can be started never ends.
    _standing: Channel,
}

impl Caller {
    /// Starts gRPC.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started.
    pub fn new() -> Result<Caller, String> {
        // One queue: grpcio's default is one, with a thread, per core.
        panics::caught(|| EnvBuilder::new().cq_count(1).name_prefix("grpc").build())
            .map(|environment| {
                let environment = Arc::new(environment);
                Caller {
                    _standing: Channel::lame(Arc::clone(&environment), "standing"),
                    environment,
                }
            })
            .map_err(|message| format!("gRPC cannot start its threads: {message}"))
    }

    /// Calls `method` over `socket`, which is closed afterwards, until
    /// the window's deadline.
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
        window: Window,
    ) -> Result<Reply, CallError> {
        let timeout = window.answer_by().saturating_duration_since(Instant::now());
        // Kept until the call has ended: C-core's channels do not, and a quota that
        // nobody keeps is counted but never acted upon.
        let quota = ResourceQuota::new(None).resize_memory(HELD_MAX);
        // grpcio panics on a reply of status OK without a message.
        let result = panics::caught(|| {
            let client = Client::new(self.channel(socket, address, quota.clone()));
            let options = CallOption::default().timeout(timeout);
            client.unary_call(method, request, options)
        });
        match result {
            Ok(Ok(reply)) => Ok(reply),
            // Whoever says first that the time is over: gRPC here, or a server that
            // keeps the deadline by itself, in words of its own.
            Ok(Err(Error::RpcFailure(_))) if Instant::now() >= window.answer_by() => {
                Err(no_answer(method.name, address, window))
            }
            Ok(Err(Error::RpcFailure(status))) => {
                let code = Code(status.code().into());
                if code == Code::RESOURCE_EXHAUSTED && status.message() == CORE_FULL {
                    // Its words, too: a driver may relay them from somewhere else.
                    let message = format!(
                        "{CORE_FULL}: the driver's reply to {} is far too large",
                        method.name
                    );
                    return Err(CallError::new(code, &message));
                }
                Err(CallError::new(code, status.message()))
            }
            Ok(Err(Error::Codec(error))) => Err(CallError::new(
                Code::INTERNAL,
                &format!(
                    "the driver's reply to {} cannot be decoded: {error}",
                    method.name
                ),
            )),
            Ok(Err(error)) => Err(CallError::new(Code::INTERNAL, &error.to_string())),
            Err(panic) => Err(CallError::new(
                Code::INTERNAL,
                &format!(
                    "gRPC panicked ({panic}), as it does on a reply to {} that is OK but has no message",
                    method.name
                ),
            )),
        }
    }

    #[allow(
        unsafe_code,
        reason = "see SAFETY; the other way is a resolver, see probe.rs"
    )]
    fn channel(&self, socket: OwnedFd, address: &CsiAddress, quota: ResourceQuota) -> Channel {
        let builder = ChannelBuilder::new(Arc::clone(&self.environment))
            .default_authority(address.authority())
            .max_receive_message_len(MESSAGE_MAX)
            .set_resource_quota(quota)
            .default_compression_algorithm(CompressionAlgorithms::GRPC_COMPRESS_NONE)
            .enable_retry(false)
            // The driver is on this node; what http_proxy says is about elsewhere.
            .enable_http_proxy(false);
        // SAFETY: `socket` is a connected stream socket, and giving up its
        // OwnedFd makes gRPC its only user and owner: it closes it with the
        // channel.
        unsafe { builder.connect_from_fd("csi-driver", socket.into_raw_fd()) }
    }
}

/// A call that nobody answered in time, told the same by whoever noticed first.
pub(super) fn no_answer(method: &str, address: &CsiAddress, window: Window) -> CallError {
    let timeout = duration::format(window.timeout());
    CallError::new(
        Code::DEADLINE_EXCEEDED,
        &format!(
            "context deadline exceeded: no answer to {method} from {address} within {timeout}"
        ),
    )
}
