//! The texts of `--help` and `--version`.

use super::table::Action;
use super::{Flag, Table};
use crate::Program;

/// The width that fits a terminal.
const WIDTH: usize = 79;
const INDENT: &str = "        ";

/// The syntax of [`super::read`].
const SYNTAX: &str = "
Flag syntax:
  -flag and --flag are the same. The value follows = or is the next argument,
  but a true-or-false flag needs the =. The last value of a flag wins.
";

/// The rules of [`super::Variables`].
const VARIABLES: &str = "
Environment variables:
  A flag overrides its variable. An empty variable counts as not set. A bad
  value is logged as a warning, and the default is used.
";

/// The text of `--version`: name, semantic version, revision.
#[must_use]
pub fn version(program: &Program) -> String {
    format!(
        "{} {} ({})\n",
        program.name, program.version, program.revision
    )
}

impl<T> Table<T> {
    /// The text of `--help`. The flags fit into 79 columns.
    #[must_use]
    pub fn help(&self, program: &Program) -> String {
        let mut text = format!(
            "{}\nUsage:\n  {} [--flag=value ...]\n",
            self.about, program.name
        );
        for section in self.sections {
            text.push('\n');
            text.push_str(section.title);
            text.push_str(":\n");
            // Those without effect need no words of their own.
            let mut old = String::new();
            for flag in section.rows() {
                match flag.action {
                    Action::Check(_) => old.extend([&flag.usage(), " "]),
                    _ if flag.help.is_empty() => {}
                    _ => describe(&mut text, flag),
                }
            }
            if !old.is_empty() {
                wrap(&mut text, "  ", &[&old]);
            }
        }
        text.push_str(SYNTAX);
        if self.variables().next().is_some() {
            text.push_str(VARIABLES);
        }
        text.push_str(self.notes);
        text
    }
}

fn describe<T>(text: &mut String, flag: &Flag<T>) {
    text.push_str("  ");
    text.push_str(&flag.usage());
    if !flag.variable.is_empty() {
        text.push_str("  (env ");
        text.push_str(flag.variable);
        text.push(')');
    }
    text.push('\n');
    if flag.default.is_empty() {
        wrap(text, INDENT, &[flag.help]);
    } else {
        wrap(text, INDENT, &[flag.help, "Default:", flag.default]);
    }
}

/// Breaks the words of all parts into lines of at most [`WIDTH`] columns.
fn wrap(text: &mut String, indent: &str, parts: &[&str]) {
    let mut column = 0;
    for word in parts.iter().flat_map(|part| part.split_whitespace()) {
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
