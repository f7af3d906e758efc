//! Waiting for a reply while a driver cannot make us hold what it likes.
//!
//! gRPC's limit for a message is looked at when all of the message is there, and
//! flow control lets it come however long it says it is: a reply of 200 MB made
//! this process 200 MB large before it was refused. So the one who waits looks,
//! every few milliseconds, at how the process has grown, and cancels the call.

use std::fs;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// Until the first look. A call that is answered sooner, as nearly all are, costs
/// none.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// By how much the process may grow during a call. All that the door lets in at
/// the same time (admission/limits.rs) takes a quarter of this.
const GROWTH_MAX: u64 = 2 * 1024 * 1024;

/// Wakes the thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for `call`'s end; it is cancelled, and `None` comes back, when this
/// process has grown too much meanwhile.
pub fn wait<Call: Future + Unpin>(call: Call, cancel: fn(&mut Call)) -> Option<Call::Output> {
    wait_while(call, cancel, anonymous_bytes)
}

/// As [`wait`], with the size of the process told by `held`.
fn wait_while<Call: Future + Unpin>(
    mut call: Call,
    cancel: fn(&mut Call),
    held: impl Fn() -> Option<u64>,
) -> Option<Call::Output> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut limit = None;
    loop {
        if let Poll::Ready(output) = Pin::new(&mut call).poll(&mut context) {
            return Some(output);
        }
        // Woken early or for nothing, it looks once more; no harm done.
        thread::park_timeout(if limit.is_none() {
            FIRST_LOOK
        } else {
            LOOK_EVERY
        });
        let Some(held) = held() else {
            continue;
        };
        match limit {
            None => limit = Some(held + GROWTH_MAX),
            Some(limit) if held > limit => {
                cancel(&mut call);
                return None;
            }
            Some(_) => {}
        }
    }
}

/// Memory that is resident and not a file's: pages of the program that are
/// touched for the first time are no growth (proc(5), statm's second field less
/// its third).
fn anonymous_bytes() -> Option<u64> {
    /// What Linux calls a page here is at least this; on kernels with larger
    /// ones the bound is the larger, too.
    const PAGE: u64 = 4096;
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let mut fields = text
        .split_whitespace()
        .skip(1)
        .map_while(|field| field.parse().ok());
    let (resident, shared): (u64, u64) = (fields.next()?, fields.next()?);
    Some(resident.saturating_sub(shared) * PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Ends after so many looks.
    struct Looks(u32);

    impl Future for Looks {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            if self.0 == 0 {
                return Poll::Ready(());
            }
            self.0 -= 1;
            Poll::Pending
        }
    }

    /// Waits in a process that grows by so much between two looks.
    fn wait_growing(looks: u32, each: u64) -> Option<()> {
        let size = Cell::new(1 << 20);
        let grow = || {
            size.set(size.get() + each);
            Some(size.get())
        };
        wait_while(Looks(looks), |call| call.0 = u32::MAX, grow)
    }

    #[test]
    fn a_call_is_waited_for_while_the_process_grows_little() {
        assert_eq!(wait_growing(0, 0), Some(()));
        assert_eq!(wait_growing(9, GROWTH_MAX / 8), Some(()));
    }

    #[test]
    fn a_call_is_cancelled_when_the_process_grows_too_much() {
        assert_eq!(wait_growing(10, GROWTH_MAX / 8), None);
        assert_eq!(wait_growing(2, GROWTH_MAX + 1), None);
    }

    #[test]
    fn the_size_of_this_process_can_be_read() {
        assert!(anonymous_bytes().is_some_and(|bytes| bytes > 0));
    }
}
