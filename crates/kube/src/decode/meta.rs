//! The identity and the version of an object: the part of `metadata` that every record has.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// The key, uid and version of an object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Fields")]
pub struct Meta {
    key: Arc<str>,
    uid: Box<str>,
    resource_version: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    #[serde(default)]
    namespace: Box<str>,
    name: Box<str>,
    #[serde(default)]
    uid: Box<str>,
    #[serde(deserialize_with = "resource_version")]
    resource_version: u64,
}

impl From<Fields> for Meta {
    fn from(fields: Fields) -> Meta {
        Meta::new(
            &fields.namespace,
            &fields.name,
            fields.uid,
            fields.resource_version,
        )
    }
}

impl Meta {
    /// The metadata of an object; `namespace` is empty for one that has none.
    #[must_use]
    pub fn new(namespace: &str, name: &str, uid: Box<str>, resource_version: u64) -> Meta {
        let key = if namespace.is_empty() {
            Arc::from(name)
        } else {
            Arc::from(format!("{namespace}/{name}"))
        };
        Meta {
            key,
            uid,
            resource_version,
        }
    }

    /// "namespace/name", or "name" for an object without a namespace, as client-go's
    /// `MetaNamespaceKeyFunc` writes it. The store and the work queue share this copy.
    #[must_use]
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// The namespace, empty for an object that has none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.key
            .split_once('/')
            .map_or("", |(namespace, _)| namespace)
    }

    /// The name without its namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key
            .split_once('/')
            .map_or(&*self.key, |(_, name)| name)
    }

    /// The uid, which differs from that of an earlier object of the same name.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The resourceVersion. It is a number that may be compared (KEP-5504, stable since 1.35; those
    /// of kine are numbers too).
    #[must_use]
    pub fn resource_version(&self) -> u64 {
        self.resource_version
    }
}

/// Reads a resourceVersion, which the API writes as a string. For `#[serde(deserialize_with)]` in
/// objects that read more of `metadata` than [`Meta`] does.
///
/// # Errors
///
/// When it is no string of a number that fits into 64 bits.
pub fn resource_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Version;
    impl Visitor<'_> for Version {
        type Value = u64;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a resourceVersion, which is a string of a number")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            text.parse()
                .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }
    }
    deserializer.deserialize_str(Version)
}
