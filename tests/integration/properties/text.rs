//! Text of a client or a driver in a log line or a response: it stays one line, has no control
//! sequences, is cut to its limit, and can be read back.

use std::time::{Duration, UNIX_EPOCH};

use csi::{CallError, Code};
use csi_livenessprobe::outcome::ProbeError;
use csi_livenessprobe::routes::{Question, Target};
use csi_livenessprobe::verdict;
use log::kv::Value;
use log::{Level, Record};
use program::escape::{TEXT_MAX, capped, json, one_line, quoted};
use program::logging::{self, Format};

/// The longest text that a cut adds.
const CUT: usize = "... (18446744073709551615 bytes more)".len();

/// Takes four bytes of a status code, and a text. Bytes that are not UTF-8 are replaced, as in
/// the messages of C-core and of drivers.
pub fn check(bytes: &[u8]) {
    let (code, rest) = bytes.split_at(bytes.len().min(4));
    let text = String::from_utf8_lossy(rest);
    escapes(&text);
    cuts(&text);
    logs(&text);
    responds(code, &text);
}

fn escapes(text: &str) {
    let line = one_line(text);
    is_plain(&line);
    assert_eq!(one_line(&line), line);
    is_plain(&quoted(text));
    assert_eq!(unquoted(&quoted(text)), text);
    is_plain(&json(text));
    assert_eq!(
        serde_json::from_str::<String>(&json(text)).expect("JSON"),
        text
    );
}

fn cuts(text: &str) {
    let cut = capped(text);
    assert!(cut.len() <= TEXT_MAX + CUT);
    if text.len() <= TEXT_MAX {
        assert_eq!(cut, text);
    } else {
        let (kept, more) = cut.rsplit_once("... (").expect("what was cut");
        assert!(text.starts_with(kept) && kept.len() + 4 > TEXT_MAX);
        assert_eq!(more, format!("{} bytes more)", text.len() - kept.len()));
    }
}

fn logs(text: &str) {
    let pairs = [("driver", Value::from(text)), ("err", Value::from(text))];
    let now = UNIX_EPOCH + Duration::from_hours(500_000);
    let line = |format| {
        let message = format_args!("{text}");
        let record = Record::builder()
            .args(message)
            .level(Level::Error)
            .file(Some("src/main.rs"))
            .line(Some(1))
            .key_values(&pairs)
            .build();
        logging::line("livenessprobe", format, now, 1, &record)
    };
    let shown = capped(text);

    let written = line(Format::Text);
    let body = written.strip_suffix('\n').expect("a whole line");
    is_plain(body);
    let (_, body) = body.split_once("] ").expect("klog's header");
    let quoted = quoted(&shown);
    assert_eq!(body, format!("{quoted} err={quoted} driver={quoted}"));

    let written = line(Format::Json);
    is_plain(written.strip_suffix('\n').expect("a whole line"));
    let object: serde_json::Value = serde_json::from_str(&written).expect("JSON");
    for key in ["msg", "err", "driver"] {
        assert_eq!(object[key], shown, "{key}");
    }
}

/// Checks the text of a driver in the body of a 500.
fn responds(code: &[u8], text: &str) {
    let code = code.try_into().map_or(2, i32::from_le_bytes);
    let question = Question {
        of: Target::Main,
        initialising_is_healthy: true,
        verbose: false,
    };
    let outcome = Err(ProbeError::Call(CallError::new(Code(code), text)));
    let (status, body) = verdict::answer(question, &outcome);
    assert_eq!(status, 500);
    is_plain(&body);
    assert!(body.starts_with("rpc error: code = ") && body.contains(" desc = "));
    // A byte becomes at most four characters, and a character of two bytes six.
    assert!(body.len() < 4 * (TEXT_MAX + CUT) + 64);
}

/// Checks that a text has no control characters, and none that hide or reorder others.
fn is_plain(text: &str) {
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}'..='\u{200f}' | '\u{feff}')
    };
    assert!(!text.contains(harmful), "{text:?}");
}

/// Reverses the quoting of the log, as Go's strconv.Unquote does.
fn unquoted(quoted: &str) -> String {
    let inner = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let mut chars = inner.expect("quotes").chars();
    let mut text = String::new();
    while let Some(c) = chars.next() {
        let c = match c {
            '"' => panic!("an open quote in {quoted}"),
            '\\' => match chars.next().expect("an escape") {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'x' => hexadecimal(&mut chars, 2),
                'u' => hexadecimal(&mut chars, 4),
                'U' => hexadecimal(&mut chars, 8),
                c => c,
            },
            c => c,
        };
        text.push(c);
    }
    text
}

fn hexadecimal(chars: &mut std::str::Chars<'_>, count: usize) -> char {
    let digits: String = chars.take(count).collect();
    let code = u32::from_str_radix(&digits, 16).expect("hexadecimal digits");
    char::from_u32(code).expect("a character")
}
