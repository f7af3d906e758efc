//! Go's flag syntax: from words to pairs of flag and value
//! (<https://pkg.go.dev/flag#hdr-Command_line_flag_syntax>).
//!
//! pico-args reads a command line by other rules, so this stands before it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use super::kubernetes;
use super::table::{self, Flag};

/// The words that have not been read yet.
pub struct Words<I> {
    unread: I,
    /// How many empty words stood behind all others. Charts render such from an empty
    /// list of arguments.
    pub empty_at_end: usize,
}

impl<I: Iterator<Item = OsString>> Words<I> {
    pub fn new(words: impl IntoIterator<IntoIter = I>) -> Words<I> {
        Words {
            unread: words.into_iter(),
            empty_at_end: 0,
        }
    }

    /// The next flag and its value; a bool without one has "true". `None` at
    /// the end.
    pub fn next_flag(&mut self) -> Result<Option<(&'static Flag, OsString)>, String> {
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
        // A lone dash is a word like any other.
        if bytes.len() < 2 || bytes[0] != b'-' {
            return Err(leftover(&word));
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
        let flag = table::find(name).ok_or_else(|| {
            let message = format!("unknown flag --{}", OsStr::from_bytes(name).display());
            hinted(message, &word)
        })?;
        let value = match value {
            Some(value) => value,
            None if flag.is_bool() => "true".into(),
            // The next word, whatever it looks like.
            None => self
                .unread
                .next()
                .ok_or_else(|| format!("{} needs a value, {}", flag.name, flag.usage()))?,
        };
        Ok(Some((flag, value)))
    }

    /// Ends the flags at a word that is none: nothing but empty ones may follow, and be
    /// this one.
    fn end_at<T>(&mut self, word: &OsStr) -> Result<Option<T>, String> {
        let mut count = 1;
        if !word.is_empty() {
            return Err(leftover(word));
        }
        for rest in self.unread.by_ref() {
            if !rest.is_empty() {
                return Err(leftover(word));
            }
            count += 1;
        }
        self.empty_at_end = count;
        Ok(None)
    }
}

/// Upstream ignores what stands behind the flags. It is never meant: most often
/// it is the value of a bool, which takes none, and all flags behind it are lost.
fn leftover(word: &OsStr) -> String {
    let message = format!(
        "unexpected argument {}; every argument is a flag, such as --csi-address=/csi/csi.sock, \
         and the value of a true-or-false flag needs an equals sign",
        shown(word)
    );
    hinted(message, word)
}

fn hinted(message: String, word: &OsStr) -> String {
    match kubernetes::unexpanded(&word.to_string_lossy()) {
        Some(hint) => format!("{message}; {hint}"),
        None => message,
    }
}

fn shown(word: &OsStr) -> String {
    format!("{:?}", word.to_string_lossy())
}
