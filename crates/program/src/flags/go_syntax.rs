//! Go's flag syntax: from arguments to pairs of flag and value
//! (<https://pkg.go.dev/flag#hdr-Command_line_flag_syntax>).
//!
//! pico-args reads a command line by other rules, so this comes before it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use super::{Flag, Table, kubernetes};

/// The arguments that have not been read yet.
pub struct Words<'t, T: 'static> {
    table: &'t Table<T>,
    unread: std::vec::IntoIter<OsString>,
    /// How many empty arguments followed all others. Charts render such from an empty list of
    /// arguments.
    pub empty_at_end: usize,
}

impl<'t, T> Words<'t, T> {
    pub fn new(table: &'t Table<T>, arguments: Vec<OsString>) -> Words<'t, T> {
        Words {
            table,
            unread: arguments.into_iter(),
            empty_at_end: 0,
        }
    }

    /// The next flag and its value; a true-or-false flag without a value has "true". `None` at
    /// the end.
    pub fn next_flag(&mut self) -> Result<Option<(&'static Flag<T>, OsString)>, String> {
        let Some(word) = self.unread.next() else {
            return Ok(None);
        };
        if word == "--" {
            return match self.unread.next() {
                Some(rest) => self.end_at(&rest),
                None => Ok(None),
            };
        }
        if word.is_empty() {
            return self.end_at(&word);
        }
        let bytes = word.as_bytes();
        // A lone dash is no flag in Go.
        if bytes.len() < 2 || bytes[0] != b'-' {
            return Err(self.leftover(&word));
        }
        let named = bytes[1..].strip_prefix(b"-").unwrap_or(&bytes[1..]);
        if matches!(named.first(), None | Some(b'-' | b'=')) {
            return Err(format!(
                "bad flag syntax {}; write --flag=value",
                shown(&word)
            ));
        }
        let (name, value) = match named.iter().position(|byte| *byte == b'=') {
            Some(at) => (
                &named[..at],
                Some(OsString::from_vec(named[at + 1..].to_vec())),
            ),
            None => (named, None),
        };
        let flag = self.table.find(name).ok_or_else(|| {
            let message = format!("unknown flag --{}", OsStr::from_bytes(name).display());
            kubernetes::hinted(message, &word.to_string_lossy())
        })?;
        let value = match value {
            Some(value) => value,
            None if flag.is_bool() => "true".into(),
            // Go takes the next argument, even one that looks like a flag.
            None => self
                .unread
                .next()
                .ok_or_else(|| format!("{} needs a value, {}", flag.name, flag.usage()))?,
        };
        Ok(Some((flag, value)))
    }

    /// Ends the flags at an argument that is none. It and all that follow must be empty.
    fn end_at<F>(&mut self, word: &OsStr) -> Result<Option<F>, String> {
        let mut count = 1;
        if !word.is_empty() {
            return Err(self.leftover(word));
        }
        for rest in self.unread.by_ref() {
            if !rest.is_empty() {
                return Err(self.leftover(word));
            }
            count += 1;
        }
        self.empty_at_end = count;
        Ok(None)
    }

    /// Upstream ignores all arguments from the first that is no flag. Most often that one is
    /// meant as the value of a true-or-false flag, and the flags after it are lost in silence.
    fn leftover(&self, word: &OsStr) -> String {
        let message = format!(
            "unexpected argument {}; every argument is a flag, such as {}, and the value of a \
             true-or-false flag needs an equals sign",
            shown(word),
            self.table.example
        );
        kubernetes::hinted(message, &word.to_string_lossy())
    }
}

fn shown(word: &OsStr) -> String {
    format!("{:?}", word.to_string_lossy())
}
