//! Reads a watch one line at a time into a buffer that is used again. Parsing a line from a slice
//! takes a third less processor time than parsing from the reader, and a bad line can be shown.

use std::fmt;
use std::io::{self, BufRead};

/// The most bytes of one line: above twice etcd's largest object, 1.5 MiB, with room for escapes.
pub const LINE_MAX: usize = 4 << 20;

/// The most bytes that stay allocated between two lines. Objects of most clusters fit in.
const KEPT_MAX: usize = 64 << 10;

/// The line that is being read.
#[derive(Debug, Default)]
pub struct Line {
    buffer: Vec<u8>,
    is_complete: bool,
}

/// Why there is no further line.
#[derive(Debug)]
pub enum LineError {
    /// The stream ended within a line, so that event is lost and has to be asked for again.
    EndedEarly,
    /// The line has more than [`LINE_MAX`] bytes, or as many bytes came in empty lines: a server that
    /// sends these without an end would never give control back to the caller and its deadline.
    TooLong,
    /// Reading failed.
    Io(io::Error),
}

impl fmt::Display for LineError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineError::EndedEarly => formatter.write_str("the watch ended within an event"),
            LineError::TooLong => write!(
                formatter,
                "the watch sent more than {LINE_MAX} bytes without the end of an event"
            ),
            LineError::Io(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for LineError {}

impl Line {
    /// The next line that is not empty, without its end; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// See [`LineError`]. After an [`LineError::Io`] that is a timeout (`TimedOut` or `WouldBlock`),
    /// the next call goes on within the same line; after any other error it begins a new one. A
    /// caller that gives a stream up after a timeout calls [`Line::clear`] before it reads another.
    pub fn read(&mut self, reader: &mut impl BufRead) -> Result<Option<&[u8]>, LineError> {
        if self.is_complete {
            self.clear();
        }
        let mut empty = 0_usize;
        loop {
            let available = match reader.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    use io::ErrorKind::{TimedOut, WouldBlock};
                    if !matches!(error.kind(), TimedOut | WouldBlock) {
                        self.clear();
                    }
                    return Err(LineError::Io(error));
                }
            };
            if available.is_empty() {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    self.clear();
                    Err(LineError::EndedEarly)
                };
            }
            let end = available.iter().position(|&byte| byte == b'\n');
            let part = available
                .get(..end.unwrap_or(available.len()))
                .unwrap_or(available);
            if self.buffer.len() + part.len() > LINE_MAX {
                self.clear();
                return Err(LineError::TooLong);
            }
            self.buffer.extend_from_slice(part);
            let consumed = part.len() + usize::from(end.is_some());
            reader.consume(consumed);
            if end.is_some() {
                if self.buffer.trim_ascii().is_empty() {
                    empty = empty.saturating_add(self.buffer.len() + 1);
                    self.clear();
                    if empty > LINE_MAX {
                        return Err(LineError::TooLong);
                    }
                } else {
                    self.is_complete = true;
                    return Ok(Some(&self.buffer));
                }
            }
        }
    }

    /// The bytes that stay allocated.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Forgets what has been read of a line, so that the start of one stream's event is not joined
    /// with the next stream.
    pub fn clear(&mut self) {
        self.is_complete = false;
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_MAX);
    }
}
