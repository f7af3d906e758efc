//! The variables that stand for some of the flags. They are a pod's or a shared
//! `ConfigMap`'s, and often meant for another program: one that is of no use here is a
//! warning, and never the end of a process that would run without it.

use std::ffi::{OsStr, OsString};

use super::kubernetes;
use super::table;
use super::{Warning, converted};

/// The environment, and what was wrong with it so far.
pub(super) struct Variables<'a> {
    environment: &'a [(OsString, OsString)],
    pub(super) warnings: Vec<Warning>,
}

impl<'a> Variables<'a> {
    pub(super) fn of(environment: &'a [(OsString, OsString)]) -> Variables<'a> {
        Variables {
            environment,
            warnings: Vec::new(),
        }
    }

    /// The variable that stands for this flag and its value; an empty one counts as not
    /// set.
    pub(super) fn for_flag(&self, flag: &str) -> Option<(&'static str, &'a OsStr)> {
        let name = table::variable(flag);
        let (_, value) = self.environment.iter().find(|(known, _)| known == name)?;
        (!value.is_empty()).then_some((name, value.as_os_str()))
    }

    /// The value that was given for this flag, or else that of its variable. One that
    /// cannot be understood is a warning, and as if it were not set.
    pub(super) fn or<T>(
        &mut self,
        given: Option<T>,
        flag: &str,
        convert: fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        if given.is_some() {
            return given;
        }
        let instead = format!("the default, {}, is used", table::default(flag));
        self.understood(flag, convert, &instead)
    }

    /// The value of this flag's variable; `instead` says what is done where that is of
    /// no use.
    pub(super) fn understood<T>(
        &mut self,
        flag: &str,
        convert: fn(&str) -> Result<T, String>,
        instead: &str,
    ) -> Option<T> {
        let (name, value) = self.for_flag(flag)?;
        match converted(name, value.to_owned(), convert) {
            Ok(converted) => {
                self.warnings.extend(kubernetes::warning(name, value));
                Some(converted)
            }
            Err(reason) => {
                self.warnings.push(Warning {
                    what: "Environment variable not understood",
                    reason: format!("{reason}; {instead}"),
                });
                None
            }
        }
    }

    /// Warns if this flag's variable is set, which is without effect for this reason.
    pub(super) fn has_no_effect(&mut self, flag: &str, why: &str) {
        if let Some((name, value)) = self.for_flag(flag) {
            let value = value.to_string_lossy();
            self.warnings.push(Warning {
                what: "Environment variable without effect",
                reason: format!("{name}={value} changes nothing: {why}"),
            });
        }
    }
}
