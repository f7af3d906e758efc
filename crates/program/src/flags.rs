//! A command line that is described by a table of flags. The owner of the package pico-args.
//!
//! A row of the [`Table`] is a [`Flag`]: its name, its help, and the function that puts its value
//! into the program's raw values. Flags that several programs have come in groups. A group is a
//! trait such as [`LogFlags`], with a constant for each row, and a program's raw values implement
//! it. The parser ([`read`]) and the help ([`Table::help`]) are made from the table alone, so no
//! flag can be accepted without an effect unless its row says so.
//!
//! Pure: nothing is read but the arguments and variables that the caller passes.

mod go_syntax;
mod help;
mod kubernetes;
mod logs;
mod table;
mod values;
mod variables;

use std::ffi::OsString;

use go_syntax::Words;
use table::Action;

pub use help::version;
pub use kubernetes::empty_address_variable;
pub use logs::{LogFlags, Logs};
pub use table::{Flag, Print, Section, Table};
pub use values::{Given, boolean, one_of, unsigned};
pub use variables::Variables;

/// A probable mistake that does not keep the process from running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The message of the log line.
    pub message: &'static str,
    /// The flag or variable, its value, and what would be right.
    pub reason: String,
}

/// Reads all arguments into `raw`. `--help` and `--version` end it where they stand, so that
/// no later argument can make them fail.
///
/// # Errors
///
/// Names the flag, the value and what would be right. What was read before the error is in
/// `raw`, so that the error can be logged in the format that was asked for.
pub fn read<T: LogFlags>(
    table: &Table<T>,
    arguments: Vec<OsString>,
    raw: &mut T,
) -> Result<Option<Print>, String> {
    let mut words = Words::new(table, arguments);
    while let Some((flag, value)) = words.next_flag()? {
        let given = Given {
            name: flag.name,
            value,
        };
        let warning = given.warning();
        match flag.action {
            Action::Print(print) => {
                if given.convert(boolean)? {
                    return Ok(Some(print));
                }
                continue;
            }
            Action::Set(set) => set(raw, given)?,
            Action::Check(check) => {
                // A mistyped value was an error of the program that had an effect for it, too.
                given.convert(check)?;
                let names = &mut raw.logs().without_effect;
                if !names.contains(&flag.name) {
                    names.push(flag.name);
                }
            }
        }
        raw.logs().warnings.extend(warning);
    }
    if words.empty_at_end > 0 {
        raw.logs().warnings.push(Warning {
            message: "Empty arguments at the end of the command line",
            reason: format!(
                "they have no effect ({} of them); charts render them from an empty list",
                words.empty_at_end
            ),
        });
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
