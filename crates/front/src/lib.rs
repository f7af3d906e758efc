//! The listener's side of every sidecar: an HTTP front that bounds all that strangers can do, and
//! the metrics.
//!
//! One thread, the event loop, accepts connections, reads each request's head within a size and
//! a time, refuses what a health probe never needs, and groups the others by the work that they
//! need. A worker behind tiny_http does that work, and the event loop renders and writes every
//! answer. A client can therefore neither reach tiny_http's parser nor make it start a thread.
//!
//! - A connection that sends nothing stays in the kernel for its first second
//!   (TCP_DEFER_ACCEPT). After that, and where the kernel cannot do it, connections without a
//!   complete head are bounded in number, and the oldest one of the address that holds most gives
//!   way: idle strangers do not keep kubelet out.
//! - A complete request gives way in two cases, both without room for another one: its client has
//!   finished sending, and so has most likely gone; or its client's address has most requests, and
//!   the address of the new one has fewer.
//! - Each request keeps its own deadline, also if its worker hangs.
//! - A connection has one answer, and is closed then.

mod address;
mod client;
mod connected_pairs;
mod event_loop;
mod exchange;
pub mod flags;
mod front;
pub mod head;
mod held;
mod in_flight;
mod incomplete;
mod limits;
mod listen;
pub mod metrics;
mod peer;
mod places;
mod response;
mod site;
mod workers;

pub use address::ListenAddress;
pub use front::{Reserved, Settings, open};
pub use in_flight::InFlight;
pub use limits::HEAD_BYTES;
pub use listen::open as open_listener;
pub use site::{Immediate, PLAIN_TEXT, Reply, Schedule, Site};
