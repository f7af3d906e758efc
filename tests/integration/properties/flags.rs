//! A command line: whatever is in it, it is followed or refused in words.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use csi_livenessprobe::flags::{Command, FlagError, MetricsAt, Options, parse};
use csi_livenessprobe::method::Method;
use csi_livenessprobe::routes;
use program::exit::Exit;

/// What a word begins with that is a variable, `\x01NAME=value`. No manifest has
/// such a word, and a fuzzer finds it quickly.
const VARIABLE: u8 = 1;

const VARIABLES: [&str; 5] = [
    "CSI_ENDPOINT",
    "LIVENESS_PROBE_TIMEOUT",
    "LIVENESS_PROBE_PATH",
    "LIVENESS_PROBE_INTERVAL",
    "LIVENESS_PROBE_RETRIES",
];

/// The words stand between NUL bytes, which none can have.
pub fn check(bytes: &[u8]) {
    let (variables, words): (Vec<&[u8]>, Vec<&[u8]>) = bytes
        .split(|byte| *byte == 0)
        .partition(|word| word.first() == Some(&VARIABLE));
    let words: Vec<OsString> = words
        .into_iter()
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect();
    let environment: Vec<(OsString, OsString)> = variables
        .iter()
        .filter_map(|variable| {
            let equals = variable.iter().position(|byte| *byte == b'=')?;
            let name = OsString::from_vec(variable[1..equals].to_vec());
            Some((name, OsString::from_vec(variable[equals + 1..].to_vec())))
        })
        .collect();

    let outcome = parse(words.clone(), &environment);
    assert_eq!(outcome, parse(words.clone(), &environment));
    match &outcome {
        Ok(Command::Serve(options)) => {
            hold(options);
            assert!(options.health.is_some() || options.periodic.is_some());
        }
        Ok(Command::Once(options)) => {
            hold(options);
            assert!(options.extra.is_empty() && options.periodic.is_none());
        }
        Ok(Command::Install { to, .. }) => assert!(!to.as_os_str().is_empty()),
        Ok(Command::Help | Command::Version) => {}
        Err(error) => tells(error),
    }

    // A variable never ends a process that would run without it, and never takes HTTP away.
    match (&outcome, parse(words.clone(), &[])) {
        (Ok(Command::Serve(options)), Ok(Command::Serve(without))) => {
            assert_eq!(options.health, without.health);
            assert_eq!(options.periodic.is_some(), without.periodic.is_some());
        }
        (Ok(Command::Once(_)), Ok(Command::Once(_))) => {}
        // With --service a variable has to name the method.
        (Ok(Command::Serve(_) | Command::Once(_)), Err(error)) => {
            assert!(error.message.contains("--service"), "{error:?}");
        }
        (outcome, without) => assert_eq!(*outcome, without),
    }

    // Whoever asks for help gets it, whatever stands behind.
    let mut with_help = words.clone();
    with_help.insert(0, "--help".into());
    assert_eq!(parse(with_help, &environment), Ok(Command::Help));
    // The last of two wins, as in Go.
    let can_go_on = match &outcome {
        // Empty words are passed over at the end alone.
        Ok(Command::Serve(options)) => !options
            .warnings
            .iter()
            .any(|warning| warning.message.starts_with("Empty arguments")),
        _ => false,
    };
    if can_go_on && !words.iter().any(|word| word == "--") {
        let mut louder = words;
        louder.push("-v=7".into());
        match parse(louder, &environment) {
            Ok(Command::Serve(options)) => assert_eq!(options.verbosity, 7),
            other => panic!("{other:?}"),
        }
    }
}

/// What holds for all options that are accepted.
fn hold(options: &Options) {
    assert!(!options.probe_timeout.is_zero());
    assert!(options.verbosity <= 10);
    assert!(options.metrics_path.starts_with('/'));
    assert!(
        options
            .metrics_path
            .bytes()
            .all(|byte| byte.is_ascii_graphic())
    );
    assert!(options.extra.len() <= 64);
    for (place, extra) in options.extra.iter().enumerate() {
        assert_eq!(routes::check_name(&extra.name), Ok(()));
        let others = &options.extra[..place];
        assert!(others.iter().all(|other| other.name != extra.name));
    }
    if let Method::Other { path } = &options.method {
        assert!(path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    if let Some(periodic) = &options.periodic {
        assert!(!periodic.interval.is_zero() && periodic.retries > 0);
        assert!(options.extra.is_empty());
    }
    if let Some(file) = options
        .periodic
        .as_ref()
        .and_then(|periodic| periodic.health_file.as_ref())
    {
        assert!(!file.as_os_str().as_bytes().ends_with(b"/"));
    }
    if options.metrics == MetricsAt::WithHealth {
        assert!(options.health.is_some());
    }
}

/// A refusal names the flag, and is no more than a person reads.
fn tells(error: &FlagError) {
    assert!(
        [Exit::BAD_FLAGS, Exit::CANNOT_RUN].contains(&error.exit),
        "{error:?}"
    );
    let names_one = VARIABLES.iter().any(|name| error.message.contains(name));
    assert!(!names_one && error.message.contains("--"), "{error:?}");
}
