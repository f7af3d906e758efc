//! Command lines, good and bad, of a program that has the flags of this crate and three more.

use super::*;
use crate::Program;
use crate::logging::Format;

#[derive(Default)]
struct Raw {
    logs: Logs,
    name: Option<String>,
    alias: Option<String>,
    on: bool,
}

impl LogFlags for Raw {
    fn logs(&mut self) -> &mut Logs {
        &mut self.logs
    }
}

const NAME: Flag<Raw> = Flag::new("--name", "NAME", "The name.", |raw: &mut Raw, given| {
    given.put(&mut raw.name, name)
})
.or_default("none")
.or_variable("THE_NAME");

static TABLE: Table<Raw> = Table {
    about: "Do something.\n",
    example: "--name=x",
    sections: &[
        Section {
            title: "General",
            flags: &[
                &[
                    NAME,
                    Flag::new("--alias", "NAME", "Alias of --name.", |raw, given| {
                        given.put(&mut raw.alias, name)
                    }),
                ],
                &[Flag::new("--on", "", "Switch it on.", |raw, given| {
                    given.put(&mut raw.on, boolean)
                })],
            ],
        },
        Section {
            title: "Logs",
            flags: &[Raw::LOG_FLAGS],
        },
        Section {
            title: "Old",
            flags: &[Raw::OLD_LOG_FLAGS],
        },
    ],
    notes: "\nThat is all.\n",
};

fn name(text: &str) -> Result<String, String> {
    match text {
        "" => Err("it is empty".to_owned()),
        text => Ok(text.to_owned()),
    }
}

fn words(line: &str) -> Vec<OsString> {
    let words = line.split_whitespace();
    words
        .map(|word| if word == "{}" { "" } else { word })
        .map(OsString::from)
        .collect()
}

/// The expected outcome of a command line.
enum Want {
    /// The value of `--name`.
    Named(&'static str),
    /// These options of the logs, without a warning.
    Reads(fn(&Logs) -> bool),
    /// It is read, and a warning contains these words.
    Warns(&'static [&'static str]),
    /// It prints this.
    Prints(Print),
    /// It is refused, and the message contains these words.
    Bad(&'static [&'static str]),
}

use Want::{Bad, Named, Prints, Reads, Warns};

/// Words are split at spaces, and `{}` is an empty word.
#[rustfmt::skip]
const COMMAND_LINES: &[(&str, Want)] = &[
    // Go's syntax.
    ("", Reads(|o| *o == Logs::default())),
    ("--name=x", Named("x")),
    ("-name=x", Named("x")),
    ("--name x", Named("x")),
    ("-name x", Named("x")),
    ("--name=x --name=y", Named("y")),
    ("--name=x -name y", Named("y")),
    ("--name=x=y", Named("x=y")),
    ("--name=x --", Named("x")),
    ("--name --on", Named("--on")),
    ("--name --", Named("--")),
    ("--on --name=x", Named("x")),
    ("--name=", Bad(&["invalid value \"\" for --name: it is empty"])),
    ("--name {}", Bad(&["invalid value \"\" for --name"])),
    ("--name= --name=x", Bad(&["invalid value \"\" for --name"])),
    ("--name", Bad(&["--name needs a value, --name=NAME"])),
    ("--on=maybe", Bad(&["invalid value \"maybe\" for --on", "true or false"])),
    ("--on true", Bad(&["unexpected argument \"true\"", "such as --name=x", "equals sign"])),
    ("---name=x", Bad(&["bad flag syntax", "---name"])),
    ("--=x", Bad(&["bad flag syntax"])),
    ("-=x", Bad(&["bad flag syntax"])),
    ("-", Bad(&["unexpected argument \"-\""])),
    ("x", Bad(&["unexpected argument \"x\""])),
    ("-- --name=x", Bad(&["unexpected argument \"--name=x\""])),
    ("--bogus", Bad(&["unknown flag --bogus"])),
    ("-bogus=1", Bad(&["unknown flag --bogus"])),
    ("--NAME=x", Bad(&["unknown flag --NAME"])),
    // Empty arguments are accepted at the end only.
    ("{}", Warns(&["Empty arguments at the end", "(1 of them)"])),
    ("--name=x {} {}", Warns(&["(2 of them)"])),
    ("--name=x -- {}", Warns(&["(1 of them)"])),
    ("{} --name=x", Bad(&["unexpected argument \"\""])),
    ("{} --", Bad(&["unexpected argument \"\""])),
    ("-- {} x", Bad(&["unexpected argument \"\""])),
    // References that Kubernetes did not replace.
    ("--name=$(X)", Warns(&["--name=$(X) is used as it stands", "leaves $(X) alone"])),
    ("--v=$(X)", Bad(&["invalid value \"$(X)\" for --v", "leaves $(X) alone"])),
    ("--$(X)=1", Bad(&["unknown flag --$(X)", "leaves $(X) alone"])),
    ("$(X)", Bad(&["unexpected argument", "leaves $(X) alone"])),
    // Logs.
    ("--v=5", Reads(|o| o.verbosity == 5)),
    ("-v 2", Reads(|o| o.verbosity == 2)),
    ("-v=10", Reads(|o| o.verbosity == 10)),
    ("--v=11", Reads(|o| o.verbosity == 10)),
    ("--v=99999999999999999999999", Reads(|o| o.verbosity == 10)),
    ("--v=-1", Bad(&["invalid value \"-1\" for --v", "0 or more"])),
    ("--v -1", Bad(&["invalid value \"-1\" for --v"])),
    ("--v=+1", Bad(&["0 or more"])),
    ("--v=high", Bad(&["invalid value \"high\" for --v"])),
    ("--v=", Bad(&["--v"])),
    ("--v", Bad(&["--v needs a value", "--v=N"])),
    ("-v5", Bad(&["unknown flag --v5"])),
    ("--logging-format=json", Reads(|o| o.format == Format::Json)),
    ("--logging-format=text", Reads(|o| o.format == Format::Text)),
    ("--logging-format=xml", Bad(&["invalid value \"xml\"", "text or json"])),
    // Bools never take the next word.
    ("--automaxprocs", Reads(|o| o.without_effect == ["--automaxprocs"])),
    ("--automaxprocs=T", Reads(|o| o.without_effect == ["--automaxprocs"])),
    ("--automaxprocs=FALSE", Reads(|_| true)),
    ("--automaxprocs=0", Reads(|_| true)),
    ("--automaxprocs=yes", Bad(&["invalid value \"yes\" for --automaxprocs", "true or false"])),
    ("--automaxprocs=tRUE", Bad(&["true or false"])),
    ("--automaxprocs=", Bad(&["true or false"])),
    ("--automaxprocs true", Bad(&["unexpected argument \"true\"", "equals sign"])),
    // Accepted without effect, but not with nonsense.
    ("--logtostderr --stderrthreshold=INFO --logtostderr=true", Reads(|o|
        o.without_effect == ["--logtostderr", "--stderrthreshold"])),
    ("--log-flush-frequency=5s", Reads(|o| o.without_effect == ["--log-flush-frequency"])),
    ("--log-flush-frequency=often", Bad(&["--log-flush-frequency"])),
    ("--vmodule=main=3,server*=5", Reads(|o| o.without_effect == ["--vmodule"])),
    ("--vmodule=", Reads(|_| true)),
    ("--vmodule=main", Bad(&["--vmodule", "main=3"])),
    ("--log-text-split-stream --log-json-split-stream=false", Reads(|o| o.without_effect.len() == 2)),
    ("--log-text-info-buffer-size=1Mi --log-json-info-buffer-size=0", Reads(|_| true)),
    ("--log-text-info-buffer-size=1e3", Reads(|_| true)),
    ("--log-text-info-buffer-size=1e+-3", Bad(&["quantity"])),
    ("--log-text-info-buffer-size=big", Bad(&["quantity", "1Mi"])),
    ("--log-json-info-buffer-size=1.2.3", Bad(&["quantity"])),
    ("--alsologtostderr --one_output --skip_headers --skip_log_headers --add_dir_header",
        Reads(|o| o.without_effect.len() == 5)),
    ("--log_dir=/var/log --log_file=/x --log_file_max_size=1800 --log_backtrace_at=main.go:137",
        Reads(|o| o.without_effect.len() == 4)),
    ("--log_backtrace_at=", Reads(|_| true)),
    ("--log_backtrace_at=main.go", Bad(&["main.go:137"])),
    ("--log_file_max_size=-1", Bad(&["0 or more"])),
    ("--stderrthreshold=2", Reads(|_| true)),
    ("--stderrthreshold=loud", Bad(&["WARNING"])),
    // Help and version; nothing behind them can make them fail.
    ("--help", Prints(Print::Help)),
    ("-help", Prints(Print::Help)),
    ("-h", Prints(Print::Help)),
    ("--h", Prints(Print::Help)),
    ("-h --bogus", Prints(Print::Help)),
    ("--v=5 --help", Prints(Print::Help)),
    ("--help=false", Reads(|_| true)),
    ("--help=maybe", Bad(&["invalid value \"maybe\" for --help"])),
    ("--bogus --help", Bad(&["unknown flag --bogus"])),
    ("--version", Prints(Print::Version)),
    ("-version=1", Prints(Print::Version)),
    ("--version=false", Reads(|_| true)),
];

#[test]
fn each_command_line_has_its_outcome() {
    for (line, want) in COMMAND_LINES {
        let mut raw = Raw::default();
        let outcome = read(&TABLE, words(line), &mut raw);
        let warnings = format!("{:?}", raw.logs.warnings);
        match (outcome, want) {
            (Ok(None), Named(name)) => assert_eq!(raw.name.as_deref(), Some(*name), "{line}"),
            (Ok(None), Reads(holds)) => {
                assert!(holds(&raw.logs), "{line}: {:?}", raw.logs);
                assert_eq!(raw.logs.warnings, [], "{line}");
            }
            (Ok(None), Warns(words)) => {
                for word in *words {
                    assert!(warnings.contains(word), "{line}: {word}: {warnings}");
                }
            }
            (Ok(Some(print)), Prints(wanted)) => assert_eq!(print, *wanted, "{line}"),
            (Err(message), Bad(words)) => {
                for word in *words {
                    assert!(message.contains(word), "{line}: {word}: {message}");
                }
            }
            (outcome, _) => panic!("{line}: {outcome:?}"),
        }
    }
    for flag in TABLE.flags().filter(|flag| flag.name != "--alias") {
        let name = flag.name.trim_start_matches('-');
        let is_there = |line: &str| line.contains(name);
        assert!(
            COMMAND_LINES.iter().any(|(line, _)| is_there(line)),
            "{name}"
        );
    }
}

#[test]
fn what_was_read_before_an_error_is_kept() {
    let mut raw = Raw::default();
    assert!(read(&TABLE, words("--logging-format=json --bogus"), &mut raw).is_err());
    assert_eq!(raw.logs.format, Format::Json);
}

#[test]
fn two_names_of_one_flag_may_not_differ() {
    let given = |line| {
        let mut raw = Raw::default();
        assert_eq!(read(&TABLE, words(line), &mut raw), Ok(None));
        one_of(("--name", raw.name), ("--alias", raw.alias), String::clone)
    };
    assert_eq!(given(""), Ok(None));
    assert_eq!(given("--alias=x"), Ok(Some("x".to_owned())));
    assert_eq!(given("--alias=x --name=x"), Ok(Some("x".to_owned())));
    let message = given("--alias=x --name=y").unwrap_err();
    assert!(message.contains("--name=y and --alias=x"), "{message}");
}

#[test]
fn a_bad_variable_is_a_warning_and_a_flag_overrides_it() {
    for (value, given, outcome, warnings) in [
        ("x", None, Some("x"), 0),
        ("x", Some("y"), Some("y"), 0),
        ("", None, None, 0),
        ("$(X)", None, Some("$(X)"), 1),
        ("bad", None, None, 1),
    ] {
        let environment = [(OsString::from("THE_NAME"), OsString::from(value))];
        let mut variables = Variables::of(&environment);
        let name = variables.or(given.map(str::to_owned), &NAME, |text| match text {
            "bad" => Err("it is bad".to_owned()),
            text => name(text),
        });
        assert_eq!(name.as_deref(), outcome, "{value}");
        assert_eq!(variables.warnings.len(), warnings, "{value}");
        if value == "bad" {
            assert_eq!(
                variables.warnings[0].reason,
                "invalid value \"bad\" for THE_NAME: it is bad; the default, none, is used"
            );
        }
    }
}

#[test]
fn the_help_is_made_of_the_table() {
    let program = Program {
        name: "something",
        package: "csi-something",
        version: "1.2.3",
        revision: "abc",
    };
    assert_eq!(version(&program), "something 1.2.3 (abc)\n");
    let help = TABLE.help(&program);
    let begin = "Do something.

Usage:
  something [--flag=value ...]

General:
  --name=NAME  (env THE_NAME)
        The name. Default: none
  --alias=NAME
        Alias of --name.
  --on
        Switch it on.

Logs:
  --v=N
";
    assert!(help.starts_with(begin), "{help}");
    assert!(
        help.contains("\nOld:\n  --automaxprocs --vmodule=PATTERN=N,... "),
        "{help}"
    );
    assert!(help.contains("\nEnvironment variables:\n"), "{help}");
    assert!(help.ends_with(".\n\nThat is all.\n"), "{help}");
    assert!(!help.contains("--h\n"), "{help}");
    for line in help.lines() {
        assert!(line.len() <= 79 && line.trim_end() == line, "{line}");
    }
    assert_eq!(TABLE.variables().collect::<Vec<_>>(), ["THE_NAME"]);
}
