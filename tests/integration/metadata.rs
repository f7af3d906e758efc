//! Metadata of a reply, as interceptors for tracing and authentication add it. A reply within
//! the limit always succeeds, and one beyond it always fails and says why.

use testkit::{Dir, Sidecar, h2};

use super::support::livenessprobe;

/// The part of the reply that has the metadata.
#[derive(Clone, Copy, Debug)]
enum Part {
    Initial,
    Trailing,
    Both,
}

/// The number of entries.
#[derive(Clone, Copy, Debug)]
enum Form {
    One,
    Many,
}

const PARTS: [Part; 3] = [Part::Initial, Part::Trailing, Part::Both];

/// Returns entries of this total size. HTTP/2 counts the name, the value and 32 bytes for each
/// (RFC 9113, section 10.5.1).
fn entries(form: Form, size: usize) -> Vec<(String, String)> {
    const EACH: usize = 256;
    let entry = |name: String, size: usize| {
        let value = "y".repeat(size - 32 - name.len());
        (name, value)
    };
    match form {
        Form::One => vec![entry("x-trace".to_owned(), size)],
        Form::Many => (0..size / EACH)
            .map(|number| entry(format!("x-baggage-{number}"), EACH))
            .collect(),
    }
}

/// Returns the reply of a healthy driver with so much metadata.
fn reply(stream: u32, part: Part, form: Form, size: usize) -> Vec<u8> {
    let more = entries(form, size);
    let block = |first: &[(&str, &str)], with_more: bool| {
        let more = more.iter().filter(|_| with_more);
        let all = first
            .iter()
            .copied()
            .chain(more.map(|(name, value)| (name.as_str(), value.as_str())));
        h2::header_block(&all.collect::<Vec<_>>())
    };
    let is_initial = matches!(part, Part::Initial | Part::Both);
    let is_trailing = matches!(part, Part::Trailing | Part::Both);
    let begin = [(":status", "200"), ("content-type", "application/grpc")];
    [
        h2::headers(0, stream, &block(&begin, is_initial)),
        h2::message(stream, h2::READY),
        h2::headers(
            h2::END_STREAM,
            stream,
            &block(&[("grpc-status", "0")], is_trailing),
        ),
    ]
    .concat()
}

fn before_a_driver_with(part: Part, form: Form, size: usize) -> (Dir, Sidecar) {
    let dir = Dir::new();
    h2::serve(dir.socket().as_ref(), move |mut call| {
        let reply = reply(call.stream, part, form, size);
        call.send(&reply);
    });
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    (dir, sidecar)
}

#[test]
fn metadata_up_to_64_kib_always_succeeds() {
    for form in [Form::One, Form::Many] {
        for part in PARTS {
            for size in [9, 12, 15, 63, 64] {
                let (_dir, sidecar) = before_a_driver_with(part, form, size * 1024);
                for round in 0..20 {
                    let what = format!("{size} KiB, {part:?}, {form:?}, round {round}");
                    assert_eq!(sidecar.healthz().both(), (200, "ok"), "{what}");
                }
            }
        }
    }
}

#[test]
fn metadata_beyond_the_limit_always_fails_and_the_error_says_so() {
    for form in [Form::One, Form::Many] {
        for part in PARTS {
            for size in [66, 80, 120, 300] {
                let (_dir, sidecar) = before_a_driver_with(part, form, size * 1024);
                for round in 0..5 {
                    let what = format!("{size} KiB, {part:?}, {form:?}, round {round}");
                    let response = sidecar.healthz();
                    assert_eq!(response.status, 500, "{what}");
                    let says_so = response.body.contains("metadata size exceeds")
                        || response.body.contains("is far too large");
                    assert!(says_so, "{what}: {response:?}");
                }
            }
        }
    }
}

/// C-core applies the larger limit that it advertises only when the driver has acknowledged its
/// SETTINGS.
#[test]
fn the_limit_does_not_wait_for_the_driver_to_acknowledge_it() {
    let dir = Dir::new();
    h2::serve_without_ack(dir.socket().as_ref(), |mut call| {
        let size = if call.number < 10 { 64 } else { 66 };
        let reply = reply(call.stream, Part::Trailing, Form::Many, size * 1024);
        call.send(&reply);
    });
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    for round in 0..20 {
        let response = sidecar.healthz();
        let expected = if round < 10 { 200 } else { 500 };
        assert_eq!(response.status, expected, "round {round}: {response:?}");
    }
}
