//! Which program this is, and which build of it.

/// The identity of a program, which logs, `--version`, metrics and HTTP answers show. Each
/// program has one constant of this type and hands it down.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The name of the command, such as `livenessprobe`.
    pub name: &'static str,
    /// The name of the product, such as `csi-livenessprobe`: the `Server` of HTTP answers.
    pub package: &'static str,
    /// The semantic version.
    pub version: &'static str,
    /// The commit that it was built from, or "unknown".
    pub revision: &'static str,
}
