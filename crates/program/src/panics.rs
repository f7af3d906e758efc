//! What becomes of a panic: an error that says what and where, or a log line in the
//! chosen form; never the end of the process without its reason.
//!
//! A panic ends only its own thread (`panic = "unwind"`), and the threads that
//! the service stands on run their work inside [`caught`].

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, PanicHookInfo, catch_unwind};

thread_local! {
    /// Whether a panic of this thread becomes somebody's error.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    /// Where this thread's last panic inside [`caught`] was. The hook alone learns it: what
    /// `catch_unwind` returns has the message and no place.
    static PLACE: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// A panic that was caught. Displayed, it names its message and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    message: String,
    /// Unknown where no hook was installed.
    place: Option<Place>,
}

/// A place in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// The file's path, as the compiler was given it.
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

    /// The path from the package on: what stands before it is of the machine that
    /// built this.
    fn file(&self) -> &str {
        let file = &self.file;
        match file.rfind("/src/") {
            Some(end) => &file[file[..end].rfind('/').map_or(0, |slash| slash + 1)..],
            None => file,
        }
    }

    /// Whether it is in the source of a package of this name: its directory is called
    /// so, with the version behind it or, in a directory of vendored packages, without.
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
    /// Whether the source of this package says where it was.
    #[must_use]
    pub fn is_in(&self, package: &str) -> bool {
        self.place
            .as_ref()
            .is_some_and(|place| place.is_in(package))
    }

    /// A panic in this file, for the tests of what is made of one.
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

/// Has panics logged like everything else. Those inside [`caught`] are not logged here:
/// the caller that catches one says what it means.
pub fn install_hook() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        if remember(info) {
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

/// Keeps the place for [`caught`], if this thread is inside it.
fn remember(info: &PanicHookInfo<'_>) -> bool {
    let is_caught = CATCHING.get();
    if is_caught {
        PLACE.set(info.location().map(Place::of));
    }
    is_caught
}

/// Runs `work`; a panic in it becomes an error that says what and where.
///
/// # Errors
///
/// The panic.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    let outer = CATCHING.replace(true);
    // AssertUnwindSafe: no caller shares half-changed state with its `work`;
    // locks inside it are taken with poisoning passed over on purpose.
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

    fn said<T>(caught: Result<T, Panic>) -> Option<String> {
        caught.err().map(|panic| panic.message)
    }

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(caught(|| 7), Ok(7));
        let boom = || -> () { panic!("boom") };
        assert_eq!(said(caught(boom)).as_deref(), Some("boom"));
        let formatted = || -> () { panic!("boom {}", 2) };
        assert_eq!(said(caught(formatted)).as_deref(), Some("boom 2"));
        let odd = || -> () { std::panic::panic_any(7) };
        let expected = Some("a panic without a message");
        assert_eq!(said(caught(odd)).as_deref(), expected);
    }

    #[test]
    fn a_panic_keeps_its_place() {
        // Other tests run in this process: their panics are to be printed as before.
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !remember(info) {
                before(info);
            }
        }));
        let line = line!() + 1;
        let panic = caught(|| panic!("boom")).unwrap_err();
        let text = panic.to_string();
        let place = format!("at program/src/panics.rs:{line}:");
        assert!(text.contains(&place), "{text}");
        assert!(!panic.is_in("grpcio"));
    }

    #[test]
    fn a_place_says_its_package_and_nothing_of_the_machine() {
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
                "src/probe/ration.rs".to_owned(),
                "src/probe/ration.rs",
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
