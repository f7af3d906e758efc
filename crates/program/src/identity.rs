//! The identity of a program: its name and its build.

/// The identity of a program, which logs, `--version`, metrics and HTTP responses show. Each
/// program has one constant of this type.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The name of the command, such as `livenessprobe`.
    pub name: &'static str,
    /// The name of the package, such as `csi-livenessprobe`, which HTTP responses contain as
    /// `Server`.
    pub package: &'static str,
    /// The semantic version.
    pub version: &'static str,
    /// The commit from which the program was built, or "unknown".
    pub revision: &'static str,
}
