//! What of gRPC's C-core goes into this program, and what is put in its place.
//!
//! In the program and not in the library, for the linker: the example driver is linked
//! with the library too, and a server needs what is left out here.

mod entropy;
#[cfg(target_env = "musl")]
mod heap;
mod metadata;
mod plugins;
mod unthreaded;
