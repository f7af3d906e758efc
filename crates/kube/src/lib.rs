//! The API server's side of every controller: objects that are listed and watched, a queue of what
//! has to be looked at, and the lease that makes one replica the leader. It knows no CSI.
//!
//! The modules below are pure: sockets, threads and clocks are their callers'.

pub mod decode;
pub mod lease;
pub mod queue;
pub mod reflect;
pub mod store;
pub mod term;
pub mod time;
