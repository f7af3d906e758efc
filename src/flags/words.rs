//! Go's flag syntax: from words to pairs of flag and value
//! (<https://pkg.go.dev/flag#hdr-Command_line_flag_syntax>).
//!
//! pico-args reads a command line by other rules, so this stands before it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use super::table::{self, Flag};

/// The words that have not been read yet.
pub struct Words<I>(I);

impl<I: Iterator<Item = OsString>> Words<I> {
    pub fn new(words: impl IntoIterator<IntoIter = I>) -> Words<I> {
        Words(words.into_iter())
    }

    /// The next flag and its value; a bool without one has "true". `None` at
    /// the end.
    pub fn next_flag(&mut self) -> Result<Option<(&'static Flag, OsString)>, String> {
        let Some(word) = self.0.next() else {
            return Ok(None);
        };
        if word == "--" {
            return match self.0.next() {
                Some(rest) => Err(leftover(&rest)),
                None => Ok(None),
            };
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
        let flag = table::find(name)
            .ok_or_else(|| format!("unknown flag --{}", OsStr::from_bytes(name).display()))?;
        let value = match value {
            Some(value) => value,
            None if flag.is_bool() => "true".into(),
            // The next word, whatever it looks like.
            None => self
                .0
                .next()
                .ok_or_else(|| format!("{} needs a value, {}", flag.name, flag.usage()))?,
        };
        Ok(Some((flag, value)))
    }
}

/// Upstream ignores what stands behind the flags. It is never meant: most often
/// it is the value of a bool, which takes none, and all flags behind it are lost.
fn leftover(word: &OsStr) -> String {
    format!(
        "unexpected argument {}; every argument is a flag, such as --csi-address=/csi/csi.sock, \
         and the value of a true-or-false flag needs an equals sign",
        shown(word)
    )
}

fn shown(word: &OsStr) -> String {
    format!("{:?}", word.to_string_lossy())
}
