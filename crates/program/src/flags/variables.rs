//! The environment variables that stand for some flags. They may come from a pod's shared
//! `ConfigMap` and be meant for another program, so a bad one is a warning, and never ends a
//! process that would run without it.

use std::ffi::{OsStr, OsString};

use super::{Flag, Given, Warning};

/// The environment, and the warnings about it so far.
pub struct Variables<'a> {
    environment: &'a [(OsString, OsString)],
    /// The warnings so far.
    pub warnings: Vec<Warning>,
}

impl<'a> Variables<'a> {
    /// The variables of this environment.
    #[must_use]
    pub fn of(environment: &'a [(OsString, OsString)]) -> Variables<'a> {
        Variables {
            environment,
            warnings: Vec::new(),
        }
    }

    /// The value of this flag's variable. An empty one counts as not set.
    #[must_use]
    pub fn value<T>(&self, flag: &Flag<T>) -> Option<&'a OsStr> {
        let (_, value) = self
            .environment
            .iter()
            .find(|(name, _)| name == flag.variable)?;
        (!value.is_empty()).then_some(value.as_os_str())
    }

    /// The value of the flag if it was given, or else that of its variable.
    pub fn or<T, V>(
        &mut self,
        given: Option<V>,
        flag: &Flag<T>,
        convert: fn(&str) -> Result<V, String>,
    ) -> Option<V> {
        if given.is_some() {
            return given;
        }
        let instead = format!("the default, {}, is used", flag.default);
        self.converted(flag, convert, &instead)
    }

    /// The value of this flag's variable. If it is bad, a warning says so, and what is done
    /// `instead` of using it.
    pub fn converted<T, V>(
        &mut self,
        flag: &Flag<T>,
        convert: fn(&str) -> Result<V, String>,
        instead: &str,
    ) -> Option<V> {
        let given = Given {
            name: flag.variable,
            value: self.value(flag)?.to_owned(),
        };
        let warning = given.warning();
        match given.convert(convert) {
            Ok(converted) => {
                self.warnings.extend(warning);
                Some(converted)
            }
            Err(reason) => {
                self.warnings.push(Warning {
                    message: "Environment variable not understood",
                    reason: format!("{reason}; {instead}"),
                });
                None
            }
        }
    }

    /// Warns if this flag's variable is set although it has no effect.
    pub fn has_no_effect<T>(&mut self, flag: &Flag<T>, why: &str) {
        if let Some(value) = self.value(flag) {
            let value = value.to_string_lossy();
            self.warnings.push(Warning {
                message: "Environment variable without effect",
                reason: format!("{}={value} changes nothing: {why}", flag.variable),
            });
        }
    }
}
