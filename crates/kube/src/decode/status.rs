//! The API server's refusals: `Status` objects, in responses and in ERROR events.

use std::fmt;
use std::time::Duration;

use program::escape;
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

/// What the API server gave as the reason of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Fields")]
pub struct Status {
    /// The HTTP status code; 0 where an ERROR event has none.
    pub code: u16,
    /// One word for programs, for example "Expired" or "AlreadyExists"; may be empty. Escaped and cut
    /// as the message is, at 128 bytes, because it is shown too.
    pub reason: Box<str>,
    /// The text for people, escaped to one line and cut at 1 KiB.
    pub message: Box<str>,
    /// How long the server wants not to be asked again.
    pub retry_after: Option<Duration>,
    /// Whether the server has not yet reached the resourceVersion that was asked for.
    pub is_too_large_version: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Fields {
    code: Option<i64>,
    reason: Option<String>,
    message: Option<String>,
    details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: Option<i64>,
    causes: Option<Causes>,
}

/// Whether one of the causes is `ResourceVersionTooLarge`. They are not collected: on a line of
/// 4 MiB they would be a million, and take several times as many bytes as the line.
#[derive(Default)]
struct Causes {
    has_too_large_version: bool,
}

impl<'de> Deserialize<'de> for Causes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Causes, D::Error> {
        struct Fold;
        impl<'de> Visitor<'de> for Fold {
            type Value = Causes;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an array of causes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Causes, A::Error> {
                let mut causes = Causes::default();
                while let Some(cause) = array.next_element::<Cause>()? {
                    causes.has_too_large_version |=
                        cause.reason.as_deref() == Some("ResourceVersionTooLarge");
                }
                Ok(causes)
            }
        }
        deserializer.deserialize_seq(Fold)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: Option<String>,
}

impl From<Fields> for Status {
    fn from(fields: Fields) -> Status {
        let message = fields.message.unwrap_or_default();
        let details = fields.details.unwrap_or_default();
        // As client-go's `apierrors.HasStatusCause` and reflector do: servers before 1.20 give no
        // cause, only the text.
        let is_too_large_version = details.causes.unwrap_or_default().has_too_large_version
            || message.contains("Too large resource version");
        Status {
            code: fields
                .code
                .and_then(|code| u16::try_from(code).ok())
                .unwrap_or_default(),
            reason: super::one_line(128, &fields.reason.unwrap_or_default()).into(),
            message: super::one_line(escape::TEXT_MAX, &message).into(),
            retry_after: details
                .retry_after_seconds
                .and_then(|seconds| u64::try_from(seconds).ok())
                .filter(|&seconds| seconds > 0)
                .map(Duration::from_secs),
            is_too_large_version,
        }
    }
}

impl Status {
    /// The refusal in a response with the HTTP status `code`. A body that is no `Status`, as a
    /// proxy sends, becomes the message; the caller limits how much of it is read. The `Retry-After` header, if there is one, goes before
    /// the body's `retryAfterSeconds`.
    #[must_use]
    pub fn of_response(code: u16, retry_after: Option<Duration>, body: &[u8]) -> Status {
        let mut status = serde_json::from_slice(body).unwrap_or_else(|_| {
            Status::from(Fields {
                message: Some(String::from_utf8_lossy(body).into_owned()),
                ..Fields::default()
            })
        });
        status.code = code;
        status.retry_after = retry_after.or(status.retry_after);
        status
    }

    /// Whether the resourceVersion that was asked for is no longer known: client-go's
    /// `apierrors.IsResourceExpired` or `IsGone`.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.code == 410 || matches!(&*self.reason, "Expired" | "Gone")
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.code)?;
        if !self.reason.is_empty() {
            write!(formatter, " {}", self.reason)?;
        }
        if !self.message.is_empty() {
            write!(formatter, ": {}", self.message)?;
        }
        Ok(())
    }
}
