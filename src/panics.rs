//! What becomes of a panic: a log line in the chosen form, never the end of
//! the process.
//!
//! A panic ends only its own thread (`panic = "unwind"`), and the threads that
//! the service stands on run their work inside [`caught`].

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

thread_local! {
    /// Whether the panic of this thread is somebody's expected value.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Has panics logged like everything else. Those inside [`caught`] are not:
/// whoever catches says what they mean.
pub fn install_hook() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        if CATCHING.get() {
            return;
        }
        let place = info
            .location()
            .map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let thread = std::thread::current();
        log::error!(
            err = message(info.payload()), place = place, thread = thread.name().unwrap_or("unnamed");
            "Panic, this is a bug; the process goes on"
        );
    }));
}

/// Runs `work`; a panic in it becomes an error that carries its message.
///
/// # Errors
///
/// The panic's message.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let outer = CATCHING.replace(true);
    // AssertUnwindSafe: no caller shares half-changed state with its `work`;
    // locks inside it are taken with poisoning passed over on purpose.
    let result = catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(outer);
    result.map_err(|payload| message(payload.as_ref()).to_owned())
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use super::caught;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(caught(|| 7), Ok(7));
        assert_eq!(caught::<()>(|| panic!("boom")), Err("boom".to_owned()));
        let formatted: Result<(), _> = caught(|| panic!("boom {}", 2));
        assert_eq!(formatted, Err("boom 2".to_owned()));
        let odd: Result<(), _> = caught(|| std::panic::panic_any(7));
        assert_eq!(odd, Err("a panic without a message".to_owned()));
    }
}
