//! Replacements for functions of gRPC's C-core and of the C library. docs/c-core.md lists them,
//! and what each depends on.
//!
//! Each program compiles these files into its binary (`#[path]` in its main.rs). They are not part
//! of the library `csi`, because the tests and the example driver link that library as well, and
//! the example driver is a gRPC server: it needs the parts of C-core that these files leave out.

mod entropy;
#[cfg(target_env = "musl")]
mod heap;
mod metadata;
mod plugins;
mod unthreaded;
