//! Reads what the API server sends: lists, watch events and refusals, each trimmed to a record of
//! what decisions need.
//!
//! An object passes through two types. Its [`Trim::Object`] derives `Deserialize` and names the
//! fields that are read; serde_json skips all others, managedFields included, without an
//! allocation. [`Trim::trim`] makes the record that stays of it, with the names that repeat taken
//! from an [`Interner`]. Records deserialized at once would need no second type, but an
//! implementation of `Deserialize` has no way to reach an interner.

mod interner;
mod line;
mod list;
mod meta;
mod status;
mod watch;

pub use interner::Interner;
pub use line::{LINE_MAX, Line, LineError};
pub use list::{ITEM_MAX, ITEMS_MAX, LIST_MAX, ListError, list};
pub use meta::{Meta, resource_version};
pub use status::Status;
pub use watch::{BadEvent, Event, event};

use program::escape;
use serde::de::DeserializeOwned;

/// A record: the part of an object of the API that is kept.
pub trait Trim: Sized + Send + Sync + 'static {
    /// The fields that are read. A field that may be absent needs `#[serde(default)]`, and one that
    /// Go may write as `null` (a slice or a map) an `Option`.
    type Object: DeserializeOwned;

    /// Keeps what is needed of an object.
    fn trim(object: Self::Object, names: &Interner) -> Self;

    /// The key, uid and version of the object.
    fn meta(&self) -> &Meta;
}

/// At most `max` bytes of a text of the server, on one line, and how many bytes are missing. A text
/// that escapes lengthen is cut a second time; it is cut first because it may have 4 MiB.
fn one_line(max: usize, text: &str) -> String {
    // As much as the note of the missing bytes may take.
    const NOTE_MAX: usize = 40;
    let line = escape::one_line(&escape::capped_to(max, text));
    if line.len() <= max.saturating_add(NOTE_MAX) {
        line
    } else {
        escape::capped_to(max, &line)
    }
}
