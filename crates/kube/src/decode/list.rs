//! Reads the body of a LIST object by object, so that no page, no body and no list is ever held.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufReader, Read};
use std::marker::PhantomData;

use program::escape;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use serde_json::error::Category;

use super::{Interner, Trim, resource_version};

/// The most bytes between the ends of two items, and after the last one, but for what is read
/// ahead: as much as a line of a watch may have.
pub const ITEM_MAX: usize = super::LINE_MAX;

/// The most items of a list, but for those that are read ahead. Kubernetes supports 150,000 pods,
/// and a cluster has about as many objects of the kinds that are listed here.
pub const ITEMS_MAX: u64 = 1 << 20;

/// The most bytes of a list. The largest database that etcd recommends has 8 GiB, and no single kind
/// of object fills half of it.
pub const LIST_MAX: u64 = 4 << 30;

/// The bytes that are read at once.
const READ_BYTES: usize = 16 << 10;

/// Why a list is not complete. The items before the failure have been handed on.
#[derive(Debug)]
pub enum ListError {
    /// The body ended before the list did.
    EndedEarly,
    /// Reading failed.
    Io(io::Error),
    /// The body is not a list of such objects; the text gives the place and the cause.
    Malformed(String),
}

impl fmt::Display for ListError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListError::EndedEarly => formatter.write_str("the response ended within the list"),
            ListError::Io(error) => write!(formatter, "reading the list failed: {error}"),
            ListError::Malformed(cause) => write!(formatter, "the list is malformed: {cause}"),
        }
    }
}

impl std::error::Error for ListError {}

/// Hands each item of a list to `each` as soon as it is complete, and returns the list's
/// resourceVersion.
///
/// # Errors
///
/// See [`ListError`]. A list that goes over [`ITEM_MAX`], [`ITEMS_MAX`] or [`LIST_MAX`] is one, of
/// the kind [`ListError::Io`]; a slow one is not, so the caller has a deadline. A list that names a continuation is one, because no limit was asked for and
/// the missing objects would be taken for deleted.
pub fn list<T: Trim>(
    body: impl Read,
    names: &Interner,
    mut each: impl FnMut(T),
) -> Result<u64, ListError> {
    let progress = Progress::default();
    let bounded = Bounded {
        body,
        progress: &progress,
    };
    let reader = BufReader::with_capacity(READ_BYTES, bounded);
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    let seed = List {
        each: |object| {
            progress.since_item.set(0);
            progress.items.set(progress.items.get().saturating_add(1));
            each(T::trim(object, names));
        },
        object: PhantomData::<T::Object>,
    };
    seed.deserialize(&mut deserializer)
        .and_then(|version| deserializer.end().map(|()| version))
        .map_err(|error| match error.classify() {
            Category::Io => ListError::Io(error.into()),
            Category::Eof => ListError::EndedEarly,
            // serde_json calls a number that is cut in its exponent an invalid one.
            Category::Syntax if progress.has_ended.get() => ListError::EndedEarly,
            _ => ListError::Malformed(super::one_line(escape::TEXT_MAX, &error.to_string())),
        })
}

/// A reader that fails after [`ITEM_MAX`] bytes without an item, because an object without an end
/// would fill the memory, and after [`ITEMS_MAX`] or [`LIST_MAX`], because a list without an end
/// would too.
struct Bounded<'a, R> {
    body: R,
    progress: &'a Progress,
}

#[derive(Default)]
struct Progress {
    /// The bytes that were read since the last item was complete.
    since_item: Cell<usize>,
    items: Cell<u64>,
    bytes: Cell<u64>,
    /// Whether the parser wanted more than there is.
    has_ended: Cell<bool>,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let since_item = &self.progress.since_item;
        if since_item.get() > ITEM_MAX {
            return Err(io::Error::other(format!(
                "an object is larger than {ITEM_MAX} bytes"
            )));
        }
        let bytes = &self.progress.bytes;
        if self.progress.items.get() > ITEMS_MAX || bytes.get() > LIST_MAX {
            return Err(io::Error::other(format!(
                "the list has more than {ITEMS_MAX} objects or {LIST_MAX} bytes"
            )));
        }
        let count = self.body.read(buffer)?;
        since_item.set(since_item.get().saturating_add(count));
        let read = u64::try_from(count).unwrap_or(u64::MAX);
        bytes.set(bytes.get().saturating_add(read));
        self.progress.has_ended.set(count == 0);
        Ok(count)
    }
}

struct List<O, F> {
    each: F,
    object: PhantomData<O>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Field {
    Metadata,
    Items,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    #[serde(deserialize_with = "resource_version")]
    resource_version: u64,
    #[serde(default)]
    r#continue: Option<Box<str>>,
}

impl<'de, O: Deserialize<'de>, F: FnMut(O)> DeserializeSeed<'de> for List<O, F> {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, O: Deserialize<'de>, F: FnMut(O)> Visitor<'de> for List<O, F> {
    type Value = u64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of objects")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<u64, A::Error> {
        let mut meta: Option<ListMeta> = None;
        let mut has_items = false;
        while let Some(field) = map.next_key()? {
            match field {
                Field::Metadata => meta = Some(map.next_value()?),
                Field::Items if has_items => return Err(A::Error::duplicate_field("items")),
                Field::Items => {
                    has_items = true;
                    map.next_value_seed(Items {
                        each: &mut self.each,
                        object: PhantomData,
                    })?;
                }
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let meta = meta.ok_or_else(|| A::Error::missing_field("metadata"))?;
        if !has_items {
            return Err(A::Error::missing_field("items"));
        }
        if meta.r#continue.is_some_and(|token| !token.is_empty()) {
            return Err(A::Error::custom("it is one page of several"));
        }
        Ok(meta.resource_version)
    }
}

struct Items<'a, O, F> {
    each: &'a mut F,
    object: PhantomData<O>,
}

impl<'de, O: Deserialize<'de>, F: FnMut(O)> DeserializeSeed<'de> for Items<'_, O, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, O: Deserialize<'de>, F: FnMut(O)> Visitor<'de> for Items<'_, O, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of objects")
    }

    // Go writes a slice that was never allocated as null.
    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(object) = items.next_element()? {
            (self.each)(object);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A test from outside would have to read 4 GiB.
    #[test]
    fn a_list_has_a_limit_of_bytes() {
        let progress = Progress::default();
        progress.bytes.set(LIST_MAX);
        let mut reader = Bounded {
            body: io::repeat(b' '),
            progress: &progress,
        };
        assert_eq!(reader.read(&mut [0; 9]).unwrap(), 9);
        assert_eq!(progress.bytes.get(), LIST_MAX + 9);
        let error = reader.read(&mut [0; 9]).unwrap_err();
        assert!(error.to_string().contains("4294967296 bytes"), "{error}");
    }
}
