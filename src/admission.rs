//! The door: all that strangers can do, bounded, before tiny_http hears of it.
//!
//! One thread accepts connections, reads each request's head within a size and a
//! time, answers itself what a health probe never needs, and gives the rest to
//! tiny_http as a request in our own words over a few private streams. A client
//! can therefore neither reach tiny_http's parser nor make it start a thread.
//!
//! - A connection that sends nothing stays in the kernel for its first second
//!   (TCP_DEFER_ACCEPT). After that, and where the kernel cannot do it, connections
//!   without a complete head are bounded in number, and the oldest one of the address
//!   that holds most gives way: idle strangers do not keep kubelet out.
//! - A complete request gives way in two cases, both where there is no room at all: its
//!   client has finished sending, and so has most likely gone; or its client's address
//!   has most requests, and the newcomer's has fewer. It waits, as a
//!   descriptor, for a stream, and all that wait for the same answer travel
//!   together; when a Probe has found the driver ready, that answers all who came
//!   before its end.
//! - Each request keeps its own deadline, whatever happens behind the door.
//! - One answer a connection, then it is closed.

mod client;
mod door;
pub mod head;
mod held;
mod incomplete;
mod limits;
mod peer;
mod refusal;
mod trip;
mod under_way;

pub use door::{Door, Entrance, Late};
pub use limits::{HEAD_BYTES, streams};
pub use refusal::SERVER;
pub use trip::ARRIVED_HEADER;
pub use trip::BODY_BYTES;
pub use under_way::UnderWay;
