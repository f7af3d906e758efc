//! Makes C-core's limit on a driver's metadata a fixed one.
//!
//! C-core has a soft and a hard limit, and refuses metadata between the two at random, more often
//! the nearer its size is to the hard limit (`random_early_detection.cc`). The same reply would
//! pass today and fail tomorrow. Moreover the hard limit applies only after the driver has
//! acknowledged our SETTINGS; until then it is 16 MiB. So this replacement refuses everything
//! beyond the soft limit.
//!
//! Rejected: setting both limits to the same number, by `grpc.max_metadata_size` beside
//! `grpc.absolute_max_metadata_size`. C-core copies each argument of a channel several times for
//! each call, which is 12,000 instructions in all, and until the driver has acknowledged our
//! SETTINGS the refusal would still be random.

#![allow(unsafe_code, reason = "a C++ symbol, see SAFETY")]

/// The beginning of a `grpc_core::RandomEarlyDetection`.
///
/// This layout is load-bearing, and the linker does not check it: if the class began with another
/// member, the program would link all the same and read the limit from other bytes.
#[repr(C)]
struct Limits {
    soft: u64,
}

/// `grpc_core::RandomEarlyDetection::Reject`, the only function of its object file.
// SAFETY: name, arguments and result are those of the method in C-core 1.56.2. Its class has no
// virtual functions and begins with the soft limit. The object outlives the call.
#[cfg_attr(
    target_pointer_width = "64",
    unsafe(export_name = "_ZN9grpc_core20RandomEarlyDetection6RejectEm")
)]
#[cfg_attr(
    target_pointer_width = "32",
    unsafe(export_name = "_ZN9grpc_core20RandomEarlyDetection6RejectEy")
)]
extern "C" fn reject(limits: &Limits, size: u64) -> bool {
    size > limits.soft
}
