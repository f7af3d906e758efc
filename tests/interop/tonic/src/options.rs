//! The flags.

use std::ffi::OsString;
use std::time::Duration;

use pico_args::Arguments;

pub struct Options {
    pub address: String,
    pub name: String,
    /// `None` leaves the field out.
    pub ready: Option<bool>,
    pub error: Option<i32>,
    pub message: String,
    pub info_error: Option<i32>,
    pub padding: usize,
    pub delay: Duration,
    pub hang: bool,
}

impl Options {
    /// Returns `None` if only the version is requested.
    pub fn parse() -> Result<Option<Options>, String> {
        // pico-args takes a value from the next word, and here it follows a =.
        let words: Vec<OsString> = std::env::args()
            .skip(1)
            .flat_map(|word| match word.split_once('=') {
                Some((flag, value)) => vec![flag.into(), value.into()],
                None => vec![word.into()],
            })
            .collect();
        parse(Arguments::from_vec(words)).map_err(|error| error.to_string())
    }
}

fn parse(mut arguments: Arguments) -> Result<Option<Options>, pico_args::Error> {
    if arguments.contains("--version") {
        return Ok(None);
    }
    let absent = arguments.contains("--ready-absent");
    let not_ready = arguments.contains("--not-ready");
    // It is the default, and a test may give it nevertheless.
    let _ = arguments.contains("--ready");
    let options = Options {
        address: arguments
            .opt_value_from_str("--address")?
            .unwrap_or_else(|| "/tmp/csi-driver/csi.sock".to_owned()),
        name: arguments
            .opt_value_from_str("--name")?
            .unwrap_or_else(|| "example.csi.livenessprobe".to_owned()),
        ready: (!absent).then_some(!not_ready),
        error: arguments.opt_value_from_str("--error")?,
        message: arguments
            .opt_value_from_str("--message")?
            .unwrap_or_default(),
        info_error: arguments.opt_value_from_str("--info-error")?,
        padding: arguments.opt_value_from_str("--padding")?.unwrap_or(0),
        delay: arguments
            .opt_value_from_fn("--delay", duration)?
            .unwrap_or(Duration::ZERO),
        hang: arguments.contains("--hang"),
    };
    match arguments.finish().into_iter().next() {
        Some(word) => Err(pico_args::Error::ArgumentParsingFailed {
            cause: format!("unknown argument {}", word.display()),
        }),
        None => Ok(Some(options)),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').unwrap_or_default(), 1_000),
    };
    number
        .parse()
        .map(|number: u64| Duration::from_millis(number * unit))
        .map_err(|_| format!("{text} is no duration such as 500ms or 2s"))
}
