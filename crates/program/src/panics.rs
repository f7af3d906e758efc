//! Turns a panic into an error, or into a log line in the chosen format. Both name its message and
//! its place in the source.
//!
//! A panic ends only its own thread (`panic = "unwind"`). The threads that a program cannot do
//! without run their work inside [`catch`].

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, PanicHookInfo, catch_unwind};

thread_local! {
    /// Whether this thread is inside [`catch`].
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    /// The place of this thread's last panic inside [`catch`]. The hook stores it here, because
    /// `catch_unwind` returns only the message.
    static PLACE: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// A panic that was caught. It is displayed with its message and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    message: String,
    /// `None` if no hook was installed.
    place: Option<Place>,
}

/// A place in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// The path of the file as the compiler got it.
    file: String,
    line: u32,
    column: u32,
}

impl Place {
    fn of(location: &Location<'_>) -> Place {
        Place {
            file: location.file().to_owned(),
            line: location.line(),
            column: location.column(),
        }
    }

    /// The path from the package's directory on. The part before it depends on the machine that
    /// built the program.
    fn file(&self) -> &str {
        let file = &self.file;
        match file.rfind("/src/") {
            Some(end) => &file[file[..end].rfind('/').map_or(0, |slash| slash + 1)..],
            None => file,
        }
    }

    /// Whether this place is in the source of a package. The directory of a package has its name,
    /// and its version unless the package is vendored.
    fn is_in(&self, package: &str) -> bool {
        let directory = self.file().split('/').next().unwrap_or_default();
        directory.strip_prefix(package).is_some_and(|rest| {
            let version = rest.strip_prefix('-').unwrap_or_default();
            rest.is_empty() || version.starts_with(|first: char| first.is_ascii_digit())
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file(), self.line, self.column)
    }
}

impl Panic {
    /// Whether the panic's place is in the source of `package`.
    #[must_use]
    pub fn is_in(&self, package: &str) -> bool {
        self.place
            .as_ref()
            .is_some_and(|place| place.is_in(package))
    }

    /// A panic in `file`, line 7, column 9. It is for tests of the code that handles panics.
    #[must_use]
    pub fn at(message: &str, file: &str) -> Panic {
        Panic {
            message: message.to_owned(),
            place: Some(Place {
                file: file.to_owned(),
                line: 7,
                column: 9,
            }),
        }
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{}, at {place}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Panic {}

impl From<Panic> for String {
    fn from(panic: Panic) -> String {
        panic.to_string()
    }
}

/// Installs a hook that logs panics. It does not log those inside [`catch`], whose caller gets them
/// as errors.
pub fn install_hook() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        if store_place(info) {
            return;
        }
        let place = info
            .location()
            .map_or_else(|| "unknown".to_owned(), |at| Place::of(at).to_string());
        let thread = std::thread::current();
        log::error!(
            err = message(info.payload()), place = place, thread = thread.name().unwrap_or("unnamed");
            "Panic, this is a bug; the process goes on"
        );
    }));
}

/// Stores the place of a panic if this thread is inside [`catch`], and returns whether it is.
fn store_place(info: &PanicHookInfo<'_>) -> bool {
    let is_catching = CATCHING.get();
    if is_catching {
        PLACE.set(info.location().map(Place::of));
    }
    is_catching
}

/// Runs `work`, and returns a panic in it as an error.
///
/// # Errors
///
/// The panic.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    let outer = CATCHING.replace(true);
    // AssertUnwindSafe is right because no caller uses state that its `work` may have half changed.
    // Locks inside `work` are taken even if they are poisoned.
    let result = catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(outer);
    result.map_err(|payload| Panic {
        message: message(payload.as_ref()).to_owned(),
        place: PLACE.take(),
    })
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
    use super::*;

    fn message_of<T>(result: Result<T, Panic>) -> Option<String> {
        result.err().map(|panic| panic.message)
    }

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(catch(|| 7), Ok(7));
        let boom = || -> () { panic!("boom") };
        assert_eq!(message_of(catch(boom)).as_deref(), Some("boom"));
        let formatted = || -> () { panic!("boom {}", 2) };
        assert_eq!(message_of(catch(formatted)).as_deref(), Some("boom 2"));
        let odd = || -> () { std::panic::panic_any(7) };
        let expected = Some("a panic without a message");
        assert_eq!(message_of(catch(odd)).as_deref(), expected);
    }

    #[test]
    fn a_panic_keeps_its_place() {
        // Other tests run in this process, and the hook before must print their panics.
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !store_place(info) {
                before(info);
            }
        }));
        let line = line!() + 1;
        let panic = catch(|| panic!("boom")).unwrap_err();
        let text = panic.to_string();
        let place = format!("at program/src/panics.rs:{line}:");
        assert!(text.contains(&place), "{text}");
        assert!(!panic.is_in("grpcio"));
    }

    #[test]
    fn a_place_names_its_package_and_not_the_machine_that_built_it() {
        let registry = "/home/x/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f";
        for (file, shown, is_grpcio) in [
            (
                format!("{registry}/grpcio-0.13.0/src/call/client.rs"),
                "grpcio-0.13.0/src/call/client.rs",
                true,
            ),
            (
                "/packages/grpcio-0.13.0/src/call/client.rs".to_owned(),
                "grpcio-0.13.0/src/call/client.rs",
                true,
            ),
            (
                "vendor/grpcio/src/call/client.rs".to_owned(),
                "grpcio/src/call/client.rs",
                true,
            ),
            (
                format!("{registry}/grpcio-sys-0.13.0/src/lib.rs"),
                "grpcio-sys-0.13.0/src/lib.rs",
                false,
            ),
            (
                format!("{registry}/protobuf-3.7.2/src/coded_input_stream/mod.rs"),
                "protobuf-3.7.2/src/coded_input_stream/mod.rs",
                false,
            ),
            (
                "/rustc/59807616e1fa/library/core/src/option.rs".to_owned(),
                "core/src/option.rs",
                false,
            ),
            (
                "crates/csi/src/call.rs".to_owned(),
                "csi/src/call.rs",
                false,
            ),
            ("<unknown>".to_owned(), "<unknown>", false),
        ] {
            let place = Place {
                file,
                line: 1,
                column: 2,
            };
            assert_eq!(place.to_string(), format!("{shown}:1:2"));
            assert_eq!(place.is_in("grpcio"), is_grpcio, "{shown}");
        }
    }
}
