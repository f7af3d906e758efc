//! Reads one line of a watch: an event with its object.

use std::fmt;
use std::marker::PhantomData;

use program::escape;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::{Interner, Status, Trim, resource_version};

/// The most bytes of a bad line that its error shows.
const SHOWN_MAX: usize = 200;

/// An event of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// The object is new.
    Added(T),
    /// The object has changed.
    Modified(T),
    /// The object is gone. The record is its last state, with the resourceVersion of the deletion.
    Deleted(T),
    /// Nothing up to this resourceVersion is left to be sent.
    Bookmark(u64),
    /// The watch is over. The resourceVersion that an ERROR event may carry is never read, because
    /// it is none to resume from.
    Error(Status),
}

/// A line that is no event.
#[derive(Debug)]
pub struct BadEvent {
    /// What is wrong, and where.
    pub cause: String,
    /// The start of the line, escaped.
    pub line: String,
}

impl fmt::Display for BadEvent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "the watch sent no event: {}, in {}",
            self.cause, self.line
        )
    }
}

impl std::error::Error for BadEvent {}

/// Reads the event in `line`.
///
/// # Errors
///
/// When the line is not the JSON of an event, when its type is unknown, or when the object lacks a
/// field that the record needs.
pub fn event<T: Trim>(line: &[u8], names: &Interner) -> Result<Event<T>, BadEvent> {
    let read = |kind| {
        let mut deserializer = serde_json::Deserializer::from_slice(line);
        let fields = Fields::<T::Object> {
            kind,
            object: PhantomData,
        }
        .deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(fields)
    };
    // The server writes the type first, and only then is the object's type known. For any other
    // order the line is read twice, rather than kept as a tree once.
    let parsed = match read(None) {
        Ok((Some(kind), None)) => read(Some(kind)),
        parsed => parsed,
    }
    .and_then(|(_, object)| {
        object.ok_or_else(|| serde_json::Error::missing_field("type or object"))
    });
    match parsed {
        Ok(Event::Added(object)) => Ok(Event::Added(T::trim(object, names))),
        Ok(Event::Modified(object)) => Ok(Event::Modified(T::trim(object, names))),
        Ok(Event::Deleted(object)) => Ok(Event::Deleted(T::trim(object, names))),
        Ok(Event::Bookmark(version)) => Ok(Event::Bookmark(version)),
        Ok(Event::Error(status)) => Ok(Event::Error(status)),
        Err(error) => Err(BadEvent {
            cause: super::one_line(SHOWN_MAX, &error.to_string()),
            line: shown(line),
        }),
    }
}

/// The start of a line, cut before it is copied, because a bad line may have 4 MiB.
fn shown(line: &[u8]) -> String {
    let start = line.get(..SHOWN_MAX).unwrap_or(line);
    let mut text = escape::one_line(&String::from_utf8_lossy(start));
    if start.len() < line.len() {
        text.push_str("...");
    }
    text
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Kind {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

#[derive(Deserialize)]
struct BookmarkObject {
    metadata: BookmarkMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMeta {
    #[serde(deserialize_with = "resource_version")]
    resource_version: u64,
}

/// Reads the fields of an event. The object is read if `kind` is known before it.
struct Fields<O> {
    kind: Option<Kind>,
    object: PhantomData<O>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Field {
    Type,
    Object,
    #[serde(other)]
    Other,
}

impl<'de, O: Deserialize<'de>> DeserializeSeed<'de> for Fields<O> {
    type Value = (Option<Kind>, Option<Event<O>>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, O: Deserialize<'de>> Visitor<'de> for Fields<O> {
    type Value = (Option<Kind>, Option<Event<O>>);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an event of a watch")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut event = None;
        let mut has_type = false;
        let mut has_object = false;
        while let Some(field) = map.next_key()? {
            match field {
                Field::Type if has_type => return Err(A::Error::duplicate_field("type")),
                Field::Type => {
                    has_type = true;
                    self.kind = Some(map.next_value()?);
                }
                Field::Object if has_object => return Err(A::Error::duplicate_field("object")),
                Field::Object => {
                    has_object = true;
                    event = match self.kind {
                        Some(kind) => Some(read_object(kind, &mut map)?),
                        None => map.next_value::<IgnoredAny>().map(|_| None)?,
                    };
                }
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if !has_type {
            return Err(A::Error::missing_field("type"));
        }
        if !has_object {
            return Err(A::Error::missing_field("object"));
        }
        Ok((self.kind, event))
    }
}

fn read_object<'de, O: Deserialize<'de>, A: MapAccess<'de>>(
    kind: Kind,
    map: &mut A,
) -> Result<Event<O>, A::Error> {
    Ok(match kind {
        Kind::Added => Event::Added(map.next_value()?),
        Kind::Modified => Event::Modified(map.next_value()?),
        Kind::Deleted => Event::Deleted(map.next_value()?),
        Kind::Bookmark => Event::Bookmark(
            map.next_value::<BookmarkObject>()?
                .metadata
                .resource_version,
        ),
        Kind::Error => Event::Error(map.next_value()?),
    })
}
