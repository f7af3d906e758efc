//! Makes untrusted text safe to show. Text from a driver or from an HTTP client is capped and
//! escaped before it goes into a log line or a response.

use std::fmt::Write as _;

/// The most bytes of an untrusted text that are shown. An error message fits in, and a driver
/// cannot fill the log's volume.
pub const TEXT_MAX: usize = 1024;

/// Cuts `text` to [`TEXT_MAX`] bytes as [`capped_to`] does.
#[must_use]
pub fn capped(text: &str) -> String {
    capped_to(TEXT_MAX, text)
}

/// Cuts `text` between two characters to at most `max` bytes, and appends how many bytes are
/// missing.
#[must_use]
pub fn capped_to(max: usize, text: &str) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max)
        .rev()
        .find(|&end| text.is_char_boundary(end))
        .unwrap_or(0);
    format!("{}... ({} bytes more)", &text[..end], text.len() - end)
}

/// Escapes newlines, other control characters, and characters that reorder or hide text, as Go does
/// in a string. All other characters stay.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        push_escaped(&mut line, c);
    }
    line
}

/// Quotes `text` as Go's `strconv.Quote` does, with which klog writes strings.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut line = String::with_capacity(text.len() + 2);
    line.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            line.push('\\');
            line.push(c);
        } else {
            push_escaped(&mut line, c);
        }
    }
    line.push('"');
    line
}

/// Quotes `text` as a JSON string (RFC 8259, section 7), and escapes what [`one_line`] escapes.
#[must_use]
pub fn json(text: &str) -> String {
    let mut line = String::with_capacity(text.len() + 2);
    line.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                line.push('\\');
                line.push(c);
            }
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c if is_unsafe(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
            c => line.push(c),
        }
    }
    line.push('"');
    line
}

fn push_escaped(line: &mut String, c: char) {
    match c {
        '\n' => line.push_str("\\n"),
        '\r' => line.push_str("\\r"),
        '\t' => line.push_str("\\t"),
        c if is_unsafe(c) => {
            // Writing to a String cannot fail.
            let _ = match u32::from(c) {
                code @ 0..=0x7f => write!(line, "\\x{code:02x}"),
                code @ 0x80..=0xffff => write!(line, "\\u{code:04x}"),
                code => write!(line, "\\U{code:08x}"),
            };
        }
        c => line.push(c),
    }
}

/// Whether a character could make a log read otherwise than it was written: control characters,
/// line separators, Unicode's bidirectional controls, and characters without a width.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{180e}' | '\u{2060}'..='\u{206f}' | '\u{e0000}'..='\u{e007f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str =
        "a\"b\\c\nd\re\tf\0g\x1b[31mh\u{7f}i\u{9b}j\u{202e}k\u{feff}l \u{e9}\u{1f600}";

    #[test]
    fn hostile_text_becomes_one_line() {
        let line = one_line(HOSTILE);
        assert_eq!(
            line,
            "a\"b\\c\\nd\\re\\tf\\x00g\\x1b[31mh\\x7fi\\u009bj\\u202ek\\ufeffl \u{e9}\u{1f600}"
        );
        assert!(!line.chars().any(is_unsafe));
    }

    #[test]
    fn text_is_quoted_as_in_go_and_in_json() {
        assert_eq!(quoted("a\"b\\c\n\x1b"), r#""a\"b\\c\n\x1b""#);
        assert_eq!(
            json("a\"b\\c\n\x1b\u{202e}\u{e0041}"),
            r#""a\"b\\c\n\u001b\u202e\udb40\udc41""#
        );
        assert_eq!(quoted("\u{e0041}"), r#""\U000e0041""#);
    }

    #[test]
    fn text_is_cut_between_characters_and_says_how_much_is_missing() {
        let text = "\u{e9}".repeat(TEXT_MAX);
        let cut = capped(&text);
        assert!(cut.len() < TEXT_MAX + 40);
        assert!(cut.ends_with("... (1024 bytes more)"), "{cut}");
        assert_eq!(capped("short"), "short");
        let odd = format!("x{text}");
        assert!(capped(&odd).ends_with("(1026 bytes more)"));
    }
}
