//! The messages that `build.rs` generates from `proto/`.

#![allow(
    missing_docs,
    clippy::pedantic,
    clippy::unwrap_used,
    reason = "generated"
)]

include!(concat!(env!("OUT_DIR"), "/proto/mod.rs"));
