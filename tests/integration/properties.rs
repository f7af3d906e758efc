//! What holds for whatever strangers and operators write: each property is held to
//! thousands of inputs made from what usually stands there, the same ones each time,
//! and to the committed corpus. `make fuzz` lets a fuzzer look for others.

mod address;
mod door;
mod duration;
mod flags;
mod head;
mod message;
mod text;

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// An input, shown so that it can be read.
struct Input(Vec<u8>);

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// Holds a property to so many inputs. The seed is fixed: what passes here passes
/// everywhere, and what fails can be looked at.
fn hold(check: fn(&[u8]), cases: u32, inputs: impl Strategy<Value = Vec<u8>>) {
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(2_026),
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&inputs.prop_map(Input), |input| {
        check(&input.0);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Holds a property to each input that is kept for it.
fn hold_to_corpus(target: &str, check: fn(&[u8])) {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let files: Vec<_> = std::fs::read_dir(kept.join(target))
        .expect("the corpus")
        .map(|file| file.unwrap().path())
        .collect();
    assert!(!files.is_empty(), "{target}");
    for file in files {
        println!("{}", file.display());
        check(&std::fs::read(&file).unwrap());
    }
}

/// One of these, or what a pattern describes, or any bytes.
fn pieces(
    usual: &'static [&'static str],
    pattern: &'static str,
) -> impl Strategy<Value = Vec<u8>> + Clone {
    prop_oneof![
        8 => select(usual).prop_map(|word| word.as_bytes().to_vec()),
        2 => pattern.prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

/// Some of these behind one another.
fn joined(
    pieces: impl Strategy<Value = Vec<u8>>,
    count: impl Into<prop::collection::SizeRange>,
) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(pieces, count).prop_map(|pieces| pieces.concat())
}

#[test]
fn a_command_line_is_followed_or_refused_in_words() {
    let names = pieces(
        &[
            "\0--csi-address=",
            "\0--endpoint\0",
            "\0-extra-csi-address=nfs=",
            "\0--probe-timeout=",
            "\0--timeout\0",
            "\0--probe-path=",
            "\0--service=",
            "\0--health-port=",
            "\0--http-endpoint=",
            "\0--metrics-address=",
            "\0-metrics-path\0",
            "\0--once",
            "\0--once=",
            "\0--install=",
            "\0--interval=",
            "\0--retries=",
            "\0--health-file=",
            "\0-v=",
            "\0--logging-format=",
            "\0--vmodule=",
            "\0--log-text-info-buffer-size=",
            "\0--",
            "\0\u{1}CSI_ENDPOINT=",
            "\0\u{1}LIVENESS_PROBE_INTERVAL=",
            "\0\u{1}LIVENESS_PROBE_RETRIES=",
            "\0\u{1}LIVENESS_PROBE_TIMEOUT=",
            "\0\u{1}LIVENESS_PROBE_PATH=",
        ],
        "\0--?[a-z_-]{0,12}=?",
    );
    let values = pieces(
        &[
            "/csi/csi.sock",
            "unix:csi.sock",
            "nfs=/nfs/csi.sock",
            "3s",
            "0",
            "-1",
            "9808",
            ":9808",
            "[::1]:9809",
            "true",
            "json",
            "/metrics",
            "/healthz/nfs",
            "/grpc.health.v1.Health/Check",
            "99999999999999999999",
            "1Mi",
            "main=3",
            "",
        ],
        "\\PC{0,20}",
    );
    let words = (names, values).prop_map(|(name, value)| [name, value].concat());
    hold(flags::check, 20_000, joined(words, 0..6));
    hold_to_corpus("flags", flags::check);
}

#[test]
fn a_duration_is_go_s_or_an_error_with_an_example() {
    let parts = pieces(
        &[
            "0",
            "1",
            "1.5",
            ".25",
            "5.",
            "007",
            "9223372036854775807",
            "18446744073709551616",
            "-",
            "+",
            "ns",
            "us",
            "\u{b5}s",
            "\u{3bc}s",
            "ms",
            "s",
            "m",
            "h",
            "d",
            " ",
        ],
        "[0-9]{1,20}(\\.[0-9]{0,25})?(ns|us|ms|s|m|h)",
    );
    hold(duration::check, 50_000, joined(parts, 0..6));
    hold_to_corpus("duration", duration::check);
}

#[test]
fn an_address_is_usable_or_an_error_with_the_right_form() {
    let parts = pieces(
        &[
            "/",
            "unix:",
            "unix://",
            "unix-abstract:",
            "tcp://",
            "dns:///",
            "dns:",
            "@",
            "//",
            "csi",
            "csi.sock",
            ":",
            ":9808",
            ":0",
            ":65536",
            "[",
            "]",
            "::1",
            "%eth0",
            "localhost",
            "\0",
            "http://",
            "..",
        ],
        "[a-z./:-]{0,120}",
    );
    hold(address::check, 50_000, joined(parts, 0..6));
    hold_to_corpus("address", address::check);
}

/// Pieces of requests.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let pieces = pieces(
        &[
            "GET",
            "HEAD",
            "CONNECT",
            " ",
            "/healthz",
            "/livez?verbose",
            "/readyz/nfs",
            "/metrics",
            "*",
            "http://x",
            " HTTP/1.1\r\n",
            " HTTP/1.0\n",
            " HTTP/2.0\r\n",
            "Host: x\r\n",
            "Content-Length: 0\r\n",
            "content-length:5\r\n",
            "Transfer-Encoding: chunked\r\n",
            "transfer-encoding:CHUNKED\n",
            "0\r\n\r\n",
            "00;a=b\n",
            "5\r\nhello\r\n",
            "\u{16}\u{3}\u{1}",
            "Expect: 100-continue\r\n",
            "TE: a;q=nan\r\n",
            "A: b",
            "\r\n",
            "\n",
            "\r",
            "\r\n\r\n",
            "\n\n",
        ],
        "[A-Za-z-]{1,12}: ?[ -~]{0,40}\r\n",
    );
    let whole = (
        select(&["GET /healthz", "HEAD /livez", "POST /metrics", "GET /x"][..]),
        select(&[" HTTP/1.1\r\nHost: x\r\n", " HTTP/1.0\r\n", " HTTP/1.1\n"][..]),
        joined(pieces.clone(), 0..4),
        select(&["\r\n", "\n", "", "\r\n\r\n", "\r\n0\r\n\r\n"][..]),
    )
        .prop_map(|(line, version, headers, end)| {
            [
                line.as_bytes(),
                version.as_bytes(),
                &headers,
                end.as_bytes(),
            ]
            .concat()
        });
    let long = (
        select(&["GET /", "GET / HTTP/1.1\r\nA: "][..]),
        8_000..9_000_usize,
    )
        .prop_map(|(begin, length)| [begin.as_bytes(), &vec![b'x'; length], b"\r\n\r\n"].concat());
    prop_oneof![10 => joined(pieces, 0..10), 10 => whole, 1 => long]
}

#[test]
fn a_head_has_one_verdict() {
    hold(head::check, 50_000, requests());
    hold_to_corpus("head", head::check);
}

#[test]
fn text_stays_one_line_and_reads_back() {
    let parts = pieces(
        &[
            "a",
            "\"",
            "\\",
            "\n",
            "\r",
            "\t",
            "\0",
            "\u{1b}[31m",
            "\u{7f}",
            "\u{9b}",
            "\u{202e}",
            "\u{2028}",
            "\u{feff}",
            "\u{e9}",
            "\u{1f600}",
            "\u{e0041}",
            "\\x41",
            "\\u0041",
        ],
        "\\PC{0,40}",
    );
    let repeated = (parts, 1..600_usize).prop_map(|(part, count)| part.repeat(count));
    hold(text::check, 10_000, joined(repeated, 1..4));
    hold_to_corpus("text", text::check);
}

#[test]
fn a_driver_s_reply_is_a_message_or_an_error() {
    let field =
        (any::<u8>(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(tag, bytes)| {
            let length = u8::try_from(bytes.len()).unwrap();
            [&[tag, length][..], &bytes].concat()
        });
    hold(message::check, 50_000, joined(field, 0..6));
    hold_to_corpus("message", message::check);
}

#[test]
fn the_door_gives_one_answer_and_closes() {
    let inputs = (any::<u8>(), requests()).prop_map(|(how, bytes)| [&[how][..], &bytes].concat());
    hold(door::check, 2_000, inputs);
    hold_to_corpus("front", door::check);
}
