//! The types that a program's flags are described with.

use super::Given;

/// A flag of a program whose raw values are a `T`.
pub struct Flag<T> {
    /// The name, with two dashes.
    pub name: &'static str,
    /// The name of the value in the help; empty for a true-or-false flag.
    pub value: &'static str,
    /// The default, as the help shows it; empty where there is none.
    pub default: &'static str,
    /// The environment variable that is read where the flag is not given; empty where there is
    /// none.
    pub variable: &'static str,
    /// The help; empty for a flag that the help leaves out.
    pub help: &'static str,
    pub(super) action: Action<T>,
}

/// What a flag does once it has been read.
pub(super) enum Action<T> {
    /// Puts its value into the raw values.
    Set(fn(&mut T, Given) -> Result<(), String>),
    /// Checks its value, and has no other effect.
    Check(fn(&str) -> Result<(), String>),
    /// Ends the reading and has a text printed.
    Print(Print),
}

/// A text that a flag asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Print {
    /// That of `--help`.
    Help,
    /// That of `--version`.
    Version,
}

impl<T> Flag<T> {
    /// A flag without default and variable. `set` puts its value into the raw values.
    #[must_use]
    pub const fn new(
        name: &'static str,
        value: &'static str,
        help: &'static str,
        set: fn(&mut T, Given) -> Result<(), String>,
    ) -> Flag<T> {
        Flag::of(name, value, help, Action::Set(set))
    }

    /// A flag of old manifests. It is accepted if `check` accepts its value, and has no effect.
    #[must_use]
    pub const fn without_effect(
        name: &'static str,
        value: &'static str,
        check: fn(&str) -> Result<(), String>,
    ) -> Flag<T> {
        Flag::of(name, value, "", Action::Check(check))
    }

    /// A true-or-false flag that has a text printed.
    pub(super) const fn printing(name: &'static str, help: &'static str, print: Print) -> Flag<T> {
        Flag::of(name, "", help, Action::Print(print))
    }

    const fn of(
        name: &'static str,
        value: &'static str,
        help: &'static str,
        action: Action<T>,
    ) -> Flag<T> {
        Flag {
            name,
            value,
            default: "",
            variable: "",
            help,
            action,
        }
    }

    /// The same flag with a default for the help.
    #[must_use]
    pub const fn or_default(self, default: &'static str) -> Flag<T> {
        Flag { default, ..self }
    }

    /// The same flag with a variable that is read where the flag is not given.
    #[must_use]
    pub const fn or_variable(self, variable: &'static str) -> Flag<T> {
        Flag { variable, ..self }
    }

    /// Whether its value never is the next argument.
    pub(super) fn is_bool(&self) -> bool {
        self.value.is_empty()
    }

    /// How it is written: `--probe-timeout=DURATION`.
    pub(super) fn usage(&self) -> String {
        if self.is_bool() {
            self.name.to_owned()
        } else {
            format!("{}={}", self.name, self.value)
        }
    }
}

/// All flags of a program, and the texts around them.
pub struct Table<T: 'static> {
    /// What the program does and examples of its use, the first lines of the help.
    pub about: &'static str,
    /// An argument that the program takes, for the message about one that is no flag.
    pub example: &'static str,
    /// The flags, in the order of the help.
    pub sections: &'static [Section<T>],
    /// What follows the flags in the help.
    pub notes: &'static str,
}

/// Some flags under one heading of the help.
pub struct Section<T: 'static> {
    /// The heading.
    pub title: &'static str,
    /// The flags, which may come from several groups.
    pub flags: &'static [&'static [Flag<T>]],
}

impl<T> Section<T> {
    pub(super) fn rows(&self) -> impl Iterator<Item = &'static Flag<T>> + use<T> {
        self.flags.iter().copied().flatten()
    }
}

impl<T> Table<T> {
    /// All flags.
    pub fn flags(&self) -> impl Iterator<Item = &'static Flag<T>> + use<T> {
        self.sections.iter().flat_map(Section::rows)
    }

    /// The variables that stand for flags.
    pub fn variables(&self) -> impl Iterator<Item = &'static str> + use<T> {
        let variables = self.flags().map(|flag| flag.variable);
        variables.filter(|variable| !variable.is_empty())
    }

    /// Finds a flag by its name without dashes.
    pub(super) fn find(&self, name: &[u8]) -> Option<&'static Flag<T>> {
        self.flags()
            .find(|flag| flag.name.as_bytes().strip_prefix(b"--") == Some(name))
    }
}
