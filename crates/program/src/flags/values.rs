//! The values of flags: how one is converted, and the types that are not one program's alone.

use std::ffi::OsString;

use super::{Warning, kubernetes};

/// A flag that was given, or the variable in its place, with its value.
pub struct Given {
    pub(super) name: &'static str,
    pub(super) value: OsString,
}

impl Given {
    /// Converts the value and puts it into a place, which may be an `Option`.
    ///
    /// # Errors
    ///
    /// As [`Given::convert`].
    pub fn put<P: From<V>, V>(
        self,
        place: &mut P,
        convert: fn(&str) -> Result<V, String>,
    ) -> Result<(), String> {
        *place = self.convert(convert)?.into();
        Ok(())
    }

    /// Has pico-args convert the value. It never sees the command line itself, which it would
    /// not read as Go does: of a repeated flag it takes the first value, it gives no value to a
    /// bool, and it refuses an empty one.
    ///
    /// # Errors
    ///
    /// Names the flag, the value, and the reason that `convert` gives.
    pub fn convert<V>(self, convert: fn(&str) -> Result<V, String>) -> Result<V, String> {
        /// pico-args finds a value behind the name of a flag, and a variable has none.
        const ANY: &str = "--value";
        let shown = self.value.to_string_lossy().into_owned();
        pico_args::Arguments::from_vec(vec![ANY.into(), self.value])
            .value_from_fn(ANY, convert)
            .map_err(|error| {
                let reason = match error {
                    pico_args::Error::Utf8ArgumentParsingFailed { cause, .. } => cause,
                    pico_args::Error::NonUtf8Argument => "it is not UTF-8".to_owned(),
                    other => other.to_string(),
                };
                let message = format!("invalid value {shown:?} for {}: {reason}", self.name);
                kubernetes::hinted(message, &shown)
            })
    }

    /// The warning about a `$(NAME)` in a value that can be used nevertheless.
    pub(super) fn warning(&self) -> Option<Warning> {
        let value = self.value.to_string_lossy();
        let hint = kubernetes::unexpanded(&value)?;
        Some(Warning {
            message: "Reference to a variable that was not replaced",
            reason: format!("{}={value} is used as it stands; {hint}", self.name),
        })
    }
}

/// The value of a flag that has two names.
///
/// # Errors
///
/// Names both where they were given different values.
pub fn one_of<V: PartialEq>(
    (name, value): (&str, Option<V>),
    (other_name, other_value): (&str, Option<V>),
    show: fn(&V) -> String,
) -> Result<Option<V>, String> {
    match (value, other_value) {
        (Some(one), Some(other)) if one != other => Err(format!(
            "{name}={} and {other_name}={} are two names of one flag with different values; \
             leave out one of them",
            show(&one),
            show(&other)
        )),
        (one, other) => Ok(one.or(other)),
    }
}

/// Go's strconv.ParseBool.
///
/// # Errors
///
/// Says that another text is neither.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("it must be true or false".to_owned()),
    }
}

/// A number without a sign. One that does not fit becomes the largest that does.
///
/// # Errors
///
/// Says that another text is no number.
pub fn unsigned(text: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("it must be a number, 0 or more".to_owned());
    }
    Ok(text.parse().unwrap_or(u64::MAX))
}
