//! Decoding: lists, watch events and refusals, whole, cut, changed and hostile.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::time::Duration;

use kube::decode::{self, Event, Interner, Line, LineError, ListError, Meta, Status, Trim};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde::Deserialize;

#[derive(Deserialize)]
struct VolumeObject {
    metadata: Meta,
    spec: VolumeSpec,
}

#[derive(Deserialize)]
struct VolumeSpec {
    driver: String,
}

#[derive(Debug, PartialEq)]
struct Volume {
    meta: Meta,
    driver: Arc<str>,
}

impl Trim for Volume {
    type Object = VolumeObject;

    fn trim(object: VolumeObject, names: &Interner) -> Volume {
        Volume {
            meta: object.metadata,
            driver: names.intern(&object.spec.driver),
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

fn object(name: &str, version: u64) -> String {
    format!(
        r#"{{"kind":"V","metadata":{{"name":"{name}","namespace":"ns","uid":"u-{name}","resourceVersion":"{version}","managedFields":[{{"f":{{"a":["\ud83d\ude00",1e9,null]}}}}]}},"spec":{{"driver":"d","other":[1,{{}}]}}}}"#
    )
}

fn list_text(names: &[String], meta_first: bool) -> String {
    let items: Vec<String> = names.iter().map(|name| object(name, 7)).collect();
    let items = format!(r#""items":[{}]"#, items.join(","));
    let meta = r#""metadata":{"resourceVersion":"42","continue":""}"#;
    if meta_first {
        format!(r#"{{"kind":"L",{meta},{items}}}"#)
    } else {
        format!(r#"{{{items},"apiVersion":"v1",{meta}}}"#)
    }
}

fn read_list(body: impl Read) -> (Vec<Volume>, Result<u64, ListError>) {
    let mut items = Vec::new();
    let end = decode::list(body, &Interner::default(), |item| items.push(item));
    (items, end)
}

fn event(line: &str) -> Result<Event<Volume>, decode::BadEvent> {
    decode::event(line.as_bytes(), &Interner::default())
}

/// Hands out at most so many bytes at once, and then fails or ends.
struct Pieces<'a>(&'a [u8], usize, Option<io::ErrorKind>);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty()
            && let Some(kind) = self.2
        {
            return Err(kind.into());
        }
        let count = self.1.min(self.0.len()).min(buffer.len());
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

/// The same cases in each run, and no file of failures: a failure repeats by itself.
fn fixed() -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(2_026),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(fixed())]

    #[test]
    fn a_list_arrives_whole_in_any_pieces_and_a_cut_one_is_an_error(
        names in prop::collection::vec("[a-z]{1,8}", 0..6),
        meta_first: bool,
        piece in 1_usize..200,
        cut: prop::sample::Index,
    ) {
        let text = list_text(&names, meta_first);
        let (items, end) = read_list(Pieces(text.as_bytes(), piece, None));
        prop_assert_eq!(end.unwrap(), 42);
        let found: Vec<&str> = items.iter().map(|item| item.meta.name()).collect();
        prop_assert_eq!(&found, &names);
        for item in &items {
            prop_assert_eq!(&**item.meta.key(), format!("ns/{}", item.meta.name()));
        }

        let cut = &text.as_bytes()[..cut.index(text.len())];
        let (items, end) = read_list(Pieces(cut, piece, None));
        prop_assert!(matches!(end, Err(ListError::EndedEarly)), "{:?}", end);
        prop_assert!(items.len() <= names.len());
        let (_, end) = read_list(Pieces(cut, piece, Some(io::ErrorKind::ConnectionReset)));
        prop_assert!(matches!(end, Err(ListError::Io(_))), "{:?}", end);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_list(&bytes[..]);
        let _ = decode::event::<Volume>(&bytes, &Interner::default());
        let status = Status::of_response(500, None, &bytes);
        prop_assert!(status.message.len() <= 1024 + 40);
        let mut line = Line::default();
        let mut reader = &bytes[..];
        while let Ok(Some(_)) = line.read(&mut reader) {}
    }

    #[test]
    fn no_changed_byte_of_an_event_panics(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        for kind in ["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"] {
            let mut line = format!(r#"{{"type":"{kind}","object":{}}}"#, object("a", 9)).into_bytes();
            let at = at.index(line.len());
            line[at] = byte;
            if let Err(bad) = decode::event::<Volume>(&line, &Interner::default()) {
                prop_assert!(bad.to_string().len() < 2200);
                prop_assert!(!bad.to_string().contains('\n'));
            }
            line.truncate(cut.index(line.len()));
            prop_assert!(decode::event::<Volume>(&line, &Interner::default()).is_err());
        }
    }

    #[test]
    fn lines_are_the_same_in_any_pieces(
        lines in prop::collection::vec("[a-z ]{0,40}", 0..8),
        piece in 1_usize..50,
        capacity in 1_usize..50,
    ) {
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        let mut reader = BufReader::with_capacity(capacity, Pieces(text.as_bytes(), piece, None));
        let mut line = Line::default();
        for expected in lines.iter().filter(|line| !line.trim().is_empty()) {
            prop_assert_eq!(line.read(&mut reader).unwrap(), Some(expected.as_bytes()));
        }
        prop_assert_eq!(line.read(&mut reader).unwrap(), None);
    }
}

#[test]
fn hostile_texts_are_errors() {
    for value in [
        "",
        "\u{feff}{}",
        "null",
        "-",
        "1e999999999",
        "NaN",
        r#""\ud800""#,
        r#""\u0000""#,
        "\"\u{0}\"",
        "[1,]",
        r#"{"name":"a","name":"b","resourceVersion":"1"}"#,
        r#"{"name":"a","resourceVersion":1}"#,
        r#"{"name":"a","resourceVersion":"-1"}"#,
        r#"{"name":"a","resourceVersion":"18446744073709551616"}"#,
        r#"{"name":{},"resourceVersion":"1"}"#,
        r#"{"name":"a","uid":null,"resourceVersion":"1"}"#,
    ] {
        let object = format!(r#"{{"metadata":{value},"spec":{{"driver":"d"}}}}"#);
        let line = format!(r#"{{"type":"ADDED","object":{object}}}"#);
        assert!(event(&line).is_err(), "{line}");
        let line = format!(
            r#"{{"type":"BOOKMARK","object":{{"metadata":{{"resourceVersion":{value}}}}}}}"#
        );
        assert!(event(&line).is_err(), "{line}");
        let text = format!(r#"{{"metadata":{{"resourceVersion":"1"}},"items":[{object}]}}"#);
        assert!(read_list(text.as_bytes()).1.is_err(), "{text}");
        let text = format!(r#"{{"metadata":{{"resourceVersion":{value}}},"items":[]}}"#);
        assert!(read_list(text.as_bytes()).1.is_err(), "{text}");
        let body =
            format!(r#"{{"code":{value},"reason":{value},"message":{value},"details":{value}}}"#);
        assert_eq!(Status::of_response(418, None, body.as_bytes()).code, 418);
    }
}

#[test]
fn what_is_no_complete_list_is_an_error() {
    for (text, cause) in [
        (r#"{"metadata":{"resourceVersion":"1"}}"#, "items"),
        (r#"{"items":[]}"#, "metadata"),
        (r#"{"items":[],"metadata":{}}"#, "resourceVersion"),
        (
            r#"{"items":[],"metadata":{"resourceVersion":""}}"#,
            "resourceVersion",
        ),
        (
            r#"{"items":[],"metadata":{"resourceVersion":"1","continue":"x"}}"#,
            "one page",
        ),
        (
            r#"{"items":[],"items":[],"metadata":{"resourceVersion":"1"}}"#,
            "duplicate",
        ),
        (
            r#"{"items":[],"metadata":{"resourceVersion":"1"}} x"#,
            "trailing",
        ),
        (
            r#"{"items":[{"metadata":{}}],"metadata":{"resourceVersion":"1"}}"#,
            "name",
        ),
        ("<html>", "expected value"),
    ] {
        match read_list(text.as_bytes()).1 {
            Err(ListError::Malformed(found)) => assert!(found.contains(cause), "{text}: {found}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    let null = r#"{"items":null,"metadata":{"resourceVersion":"3"}}"#;
    assert_eq!(read_list(null.as_bytes()).1.unwrap(), 3);
}

#[test]
fn a_list_that_ends_within_an_exponent_has_ended_early() {
    for text in [r#"{"x":1e"#, r#"{"x":-"#, r#"{"x":1."#, r#"{"x":tru"#] {
        let (_, end) = read_list(text.as_bytes());
        assert!(matches!(end, Err(ListError::EndedEarly)), "{text} {end:?}");
    }
}

#[test]
fn items_arrive_before_the_list_is_complete() {
    let text = list_text(&["a".to_owned(), "b".to_owned()], true);
    let half = text.find(r#""name":"b""#).unwrap();
    let (items, end) = read_list(&text.as_bytes()[..half]);
    assert_eq!(items.len(), 1);
    assert!(end.is_err());
}

#[test]
fn a_list_may_be_larger_than_what_one_object_may_be() {
    let item = format!("{},", object("a", 7)).repeat(1_000);
    let mut body = br#"{"items":["#.to_vec();
    let count = 1 + 2 * decode::ITEM_MAX / item.len();
    body.extend(item.repeat(count).into_bytes());
    body.pop();
    body.extend(br#"],"metadata":{"resourceVersion":"8"}}"#);
    let (items, end) = read_list(&body[..]);
    assert_eq!(end.unwrap(), 8);
    assert_eq!(items.len(), 1_000 * count);
}

#[test]
fn an_endless_list_is_refused() {
    struct Nothing(Meta);

    impl Trim for Nothing {
        type Object = serde::de::IgnoredAny;

        fn trim(_: Self::Object, _: &Interner) -> Nothing {
            Nothing(Meta::new("", "", "".into(), 0))
        }

        fn meta(&self) -> &Meta {
            &self.0
        }
    }

    // The test itself ends, also where the limit is not kept.
    let items = "0,".repeat(3 << 20);
    let body = br#"{"items":["#.chain(items.as_bytes());
    let mut count = 0_u64;
    let end = decode::list(body, &Interner::default(), |_: Nothing| count += 1);
    assert!(matches!(end, Err(ListError::Io(_))), "{end:?}");
    assert!((1 << 20..2 << 20).contains(&count), "{count}");
}

#[test]
fn an_endless_object_and_a_deep_one_are_refused() {
    let start: &[u8] = br#"{"items":[{"metadata":{"name":""#;
    let (_, end) = read_list(start.chain(io::repeat(b'x')));
    assert!(matches!(end, Err(ListError::Io(_))), "{end:?}");
    let (_, end) = read_list(br#"{"x":"#.chain(io::repeat(b'[')));
    assert!(end.is_err());
    let deep = format!(r#"{{"items":{}"#, "[".repeat(100_000));
    assert!(read_list(deep.as_bytes()).1.is_err());
    let deep = format!(r#"{{"type":"ADDED","object":{}"#, "[".repeat(100_000));
    assert!(event(&deep).is_err());
}

#[test]
fn events_are_read_whichever_field_comes_first() {
    let a = object("a", 9);
    for line in [
        format!(r#"{{"type":"DELETED","object":{a}}}"#),
        format!(r#"{{"object":{a},"x":[{{}}],"type":"DELETED"}}"#),
    ] {
        match event(&line).unwrap() {
            Event::Deleted(volume) => {
                assert_eq!(volume.meta, Meta::new("ns", "a", "u-a".into(), 9));
                assert_eq!((volume.meta.namespace(), volume.meta.name()), ("ns", "a"));
            }
            other => panic!("{other:?}"),
        }
    }
    let bookmark = r#"{"type":"BOOKMARK","object":{"kind":"V","metadata":{"resourceVersion":"12","creationTimestamp":null},"spec":{}}}"#;
    assert_eq!(event(bookmark).unwrap(), Event::Bookmark(12));
}

#[test]
fn an_unknown_event_is_named_and_a_bad_line_is_cut() {
    let bad = event(r#"{"type":"MOVED","object":{}}"#)
        .unwrap_err()
        .to_string();
    assert!(bad.contains("MOVED"), "{bad}");
    let bad = event(&format!("{{\"type\":\n{}", "\u{e9}".repeat(9_000))).unwrap_err();
    assert!(
        bad.line.starts_with(r#"{"type":\n"#) && bad.line.len() < 220,
        "{}",
        bad.line
    );
    for line in [
        r#"{"object":{}}"#,
        r#"{"type":"ADDED"}"#,
        r#"{"type":"ADDED","object":null}"#,
        r#"{"type":"BOOKMARK","object":{"metadata":{}}}"#,
        r#"{"type":"ADDED","type":"ADDED","object":{}}"#,
        "[]",
    ] {
        assert!(event(line).is_err(), "{line}");
    }
}

#[test]
fn a_status_gives_its_reasons() {
    let line = r#"{"type":"ERROR","object":{"kind":"Status","metadata":{"resourceVersion":"99"},"status":"Failure","message":"too old resource version: 1 (2)","reason":"Expired","code":410}}"#;
    let Event::Error(status) = event(line).unwrap() else {
        panic!("no error event");
    };
    assert!(status.is_expired());
    assert_eq!(
        status.to_string(),
        "410 Expired: too old resource version: 1 (2)"
    );

    let large = br#"{"code":504,"reason":"Timeout","message":"m","details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"x"}],"retryAfterSeconds":1}}"#;
    let status = Status::of_response(504, None, large);
    assert!(status.is_too_large_version && !status.is_expired());
    assert_eq!(status.retry_after, Some(Duration::from_secs(1)));
    let header = Some(Duration::from_secs(7));
    assert_eq!(Status::of_response(429, header, large).retry_after, header);
    let old = br#"{"message":"Timeout: Too large resource version: 9, current: 3"}"#;
    assert!(Status::of_response(504, None, old).is_too_large_version);

    let html = Status::of_response(502, None, "\u{e9}".repeat(2_000).as_bytes());
    assert_eq!(html.code, 502);
    assert!(
        html.message.ends_with("(2976 bytes more)"),
        "{}",
        html.message
    );
}

#[test]
fn a_text_of_the_server_stays_on_one_line() {
    let body = r#"{"reason":"A\nB","message":"a\n\u001b[31mred\u202e"}"#;
    let status = Status::of_response(500, None, body.as_bytes());
    assert_eq!(&*status.reason, r"A\nB");
    assert!(status.message.starts_with(r"a\n"), "{}", status.message);
    assert!(!status.message.contains(['\n', '\u{1b}', '\u{202e}']));
    let html = Status::of_response(502, None, b"<html>\r\n<body>");
    assert_eq!(&*html.message, r"<html>\r\n<body>");

    let long = Status::of_response(500, None, "\u{1}".repeat(4_000).as_bytes());
    assert!(long.message.len() <= 1024 + 40, "{}", long.message.len());
    assert!(long.message.ends_with("bytes more)"), "{}", long.message);

    let text = r#"{"metadata":{"resourceVersion":"a\nb\u001b"},"items":[]}"#;
    match read_list(text.as_bytes()).1 {
        Err(ListError::Malformed(cause)) => {
            assert!(!cause.contains(['\n', '\u{1b}']), "{cause:?}");
        }
        other => panic!("{other:?}"),
    }
    let text = r#"{"metadata":{"resourceVersion":"1"},"items":[{"metadata":"a\nb"}]}"#;
    match read_list(text.as_bytes()).1 {
        Err(ListError::Malformed(cause)) => assert!(!cause.contains('\n'), "{cause:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_line_has_a_cap_and_its_buffer_shrinks() {
    let mut line = Line::default();
    let mut endless = BufReader::new(io::repeat(b'x'));
    assert!(matches!(line.read(&mut endless), Err(LineError::TooLong)));
    assert!(line.capacity() <= 64 << 10);

    let text = format!("{}\na\nb", "x".repeat(1 << 20));
    let mut reader = text.as_bytes();
    assert_eq!(
        line.read(&mut reader).unwrap().map(<[u8]>::len),
        Some(1 << 20)
    );
    assert_eq!(line.read(&mut reader).unwrap(), Some(&b"a"[..]));
    assert!(line.capacity() <= 64 << 10);
    assert!(matches!(line.read(&mut reader), Err(LineError::EndedEarly)));
    assert!(line.read(&mut reader).unwrap().is_none());
}

#[test]
fn empty_lines_without_an_end_give_control_back() {
    for empty in ["\n", " \r\n", &format!("{}\n", " ".repeat(100_000))] {
        let mut line = Line::default();
        // The test itself ends, also where the limit is not kept.
        let text = empty.repeat(1 + (6 << 20) / empty.len()) + "a\n";
        let mut reader = text.as_bytes();
        assert!(matches!(line.read(&mut reader), Err(LineError::TooLong)));
        let taken = text.len() - reader.len();
        assert!((4 << 20..5 << 20).contains(&taken), "{taken}");
        // The next call goes on with the next line.
        assert_eq!(line.read(&mut reader).unwrap(), Some(&b"a"[..]));
    }
}

#[test]
fn a_line_goes_on_after_a_read_timed_out() {
    let mut line = Line::default();
    let mut first = BufReader::new(Pieces(b"ab", 9, Some(io::ErrorKind::TimedOut)));
    assert!(matches!(line.read(&mut first), Err(LineError::Io(_))));
    assert_eq!(line.read(&mut &b"c\n"[..]).unwrap(), Some(&b"abc"[..]));
}

#[test]
fn the_start_of_a_line_is_not_joined_with_another_stream() {
    let mut line = Line::default();
    let mut first = BufReader::new(Pieces(b"ab", 9, Some(io::ErrorKind::ConnectionReset)));
    assert!(matches!(line.read(&mut first), Err(LineError::Io(_))));
    assert_eq!(line.read(&mut &b"c\n"[..]).unwrap(), Some(&b"c"[..]));
    for kind in [io::ErrorKind::TimedOut, io::ErrorKind::WouldBlock] {
        let mut first = BufReader::new(Pieces(b"ab", 9, Some(kind)));
        assert!(matches!(line.read(&mut first), Err(LineError::Io(_))));
        line.clear();
        assert_eq!(line.read(&mut &b"c\n"[..]).unwrap(), Some(&b"c"[..]));
    }
}

#[test]
fn names_are_shared_and_unused_ones_go() {
    let names = Interner::default();
    let kept = names.intern("kept");
    assert!(Arc::ptr_eq(&kept, &names.intern("kept")));
    for number in 0..100_000 {
        drop(names.intern(&number.to_string()));
    }
    assert!(names.len() <= 256, "{}", names.len());
    assert!(Arc::ptr_eq(&kept, &names.intern("kept")));
}

#[test]
fn a_text_that_is_larger_than_any_name_is_not_kept() {
    let names = Interner::default();
    let name = "x".repeat(512);
    assert!(Arc::ptr_eq(&names.intern(&name), &names.intern(&name)));
    let large = "x".repeat(513);
    assert_eq!(*names.intern(&large), *large);
    assert_eq!(names.len(), 1);
}
