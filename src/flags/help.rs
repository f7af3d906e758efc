//! The texts of `--help` and `--version`, made from the table of flags.

use std::fmt::Write as _;

use super::table::{FLAGS, Flag, Group};
use crate::PROGRAM;

/// The width that fits a terminal.
const WIDTH: usize = 79;
const INDENT: &str = "        ";

/// What `--version` prints: name, semantic version, revision.
#[must_use]
pub fn version() -> String {
    format!(
        "{} {} ({})\n",
        PROGRAM.name, PROGRAM.version, PROGRAM.revision
    )
}

/// What `--help` prints; lines of at most 79 columns.
#[must_use]
pub fn help() -> String {
    let mut text = String::from(
        "livenessprobe answers kubelet's GET /healthz by calling csi.v1.Identity/Probe\n\
         on a CSI driver's socket, under a deadline: 200 if the driver is ready, else\n\
         500 with the reason.\n\
         \n\
         Usage: livenessprobe [--flag=value ...]\n\
         \n\
         Flags are Go's: -flag and --flag are the same, a value follows = or is the\n\
         next argument, a true-or-false flag needs the =, the last value wins.\n\n",
    );
    for flag in in_group(Group::Probe) {
        describe(&mut text, flag);
    }
    text.push_str("\nWhere it answers:\n\n");
    for flag in in_group(Group::Http) {
        describe(&mut text, flag);
    }
    text.push_str("\nWithout kubelet's HTTP probe:\n\n");
    for flag in in_group(Group::Ways) {
        describe(&mut text, flag);
    }
    text.push_str("\nLogs and information:\n\n");
    for flag in in_group(Group::Logs).filter(|flag| !flag.words.is_empty()) {
        describe(&mut text, flag);
    }
    text.push_str(
        "\nAccepted without effect, so that manifests written for upstream's image of any\n\
         age go on working; a line at start names those that were given:\n\n",
    );
    let names: Vec<String> = in_group(Group::WithoutEffect).map(Flag::usage).collect();
    wrap(&mut text, "  ", &names.join(" "));
    text.push_str(
        "\nA flag is stronger than the variable beside it, which is read only where the\n\
         flag is not given; one that is empty counts as not set. One that cannot be\n\
         understood is a warning in the log, and the default is used.\n\
         \n\
         Paths, all about the driver and none about this process: /healthz and /readyz\n\
         are 200 if the driver is ready, /livez also while it is initialising; ?verbose\n\
         adds the driver's name, its address, the time taken and the last success.\n\
         With /NAME behind them they are about another driver, with /all about all.\n\
         \n\
         Exit codes: 0 clean stop, help or version, or healthy; 1 could not run (port\n\
         taken, flags that exclude each other) or go on, or too many failures in a row;\n\
         2 unknown flag or bad value; with --once also 3 could not connect, 4 the call\n\
         failed or timed out, 5 not ready.\n",
    );
    text
}

fn in_group(group: Group) -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().filter(move |flag| flag.group == group)
}

fn describe(text: &mut String, flag: &Flag) {
    // Writing to a String cannot fail.
    let _ = match flag.variable {
        "" => writeln!(text, "  {}", flag.usage()),
        variable => writeln!(text, "  {}  (variable {variable})", flag.usage()),
    };
    let words = match flag.default {
        "" => flag.words.to_owned(),
        default => format!("{} Default: {default}.", flag.words),
    };
    wrap(text, INDENT, &words);
}

/// Breaks `words` into lines of at most [`WIDTH`] columns.
fn wrap(text: &mut String, indent: &str, words: &str) {
    let mut column = 0;
    for word in words.split_whitespace() {
        if column > 0 && column + 1 + word.len() > WIDTH {
            text.push('\n');
            column = 0;
        }
        let before = if column == 0 { indent } else { " " };
        text.push_str(before);
        text.push_str(word);
        column += before.len() + word.len();
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_fits_79_columns_and_every_flag_is_there() {
        let text = help();
        for line in text.lines().chain(version().lines()) {
            assert!(line.len() <= WIDTH && line.is_ascii(), "{line}");
            assert_eq!(line.trim_end(), line);
        }
        for flag in FLAGS.iter().filter(|flag| flag.name != "--h") {
            assert!(text.contains(&flag.usage()), "{}", flag.name);
            assert!(text.contains(flag.default), "{}", flag.name);
            assert!(text.contains(flag.variable), "{}", flag.name);
        }
    }

    #[test]
    fn the_usage_shows_this_very_help() {
        let usage = include_str!("../../docs/usage.md");
        assert!(
            usage.contains(&format!("```text\n$ livenessprobe --help\n{}```", help())),
            "docs/usage.md is behind; `livenessprobe --help` says:\n{}",
            help()
        );
    }

    #[test]
    fn the_readme_s_flags_have_these_variables_and_defaults() {
        let readme = include_str!("../../README.md");
        let (_, section) = readme.split_once("\n## Flags\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let mut rows = 0;
        for line in section.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let code = |cell: &'static str| cell.trim_matches('`');
            let flag = FLAGS.iter().find(|flag| flag.name == code(cells[1]));
            let flag = flag.unwrap_or_else(|| panic!("{line}"));
            assert_eq!(code(cells[2]), flag.variable, "{line}");
            assert_eq!(code(cells[3]), flag.default, "{line}");
            rows += 1;
        }
        assert_eq!(rows, 5);
    }
}
