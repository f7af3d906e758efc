//! Which build this is, for `--version` and the metrics; build.rs finds out.

/// The semantic version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that it was built from, or "unknown".
pub const REVISION: &str = env!("LIVENESSPROBE_REVISION");
