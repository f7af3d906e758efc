//! One limit for a driver's metadata, and not a matter of chance.
//!
//! C-core has two limits, and refuses what lies between them by chance: the more likely, the
//! nearer it is to the second one (its `random_early_detection.cc`). The same driver would be
//! healthy today and ill tomorrow. And the second limit counts only once the driver has
//! acknowledged our SETTINGS; until then it is 16 MiB. So here the first one is the limit.
//!
//! Rejected: both limits at the same number by `grpc.max_metadata_size` beside
//! `grpc.absolute_max_metadata_size`. Each argument of a channel is copied several times for
//! each probe, 12,000 instructions in all, and without the acknowledgement it is chance again.

#![allow(unsafe_code, reason = "a C++ symbol, see SAFETY")]

/// The beginning of a `grpc_core::RandomEarlyDetection`.
///
/// The linker does not check this layout: if the class began otherwise, it would link all the
/// same, and the limit would be read from other bytes.
#[repr(C)]
struct Limits {
    soft: u64,
}

/// `grpc_core::RandomEarlyDetection::Reject`, the one function of its object file.
// SAFETY: the name, the arguments and the result are those of the method in C-core 1.56.2,
// whose class has no virtual functions and begins with this limit. Its object outlives the
// call.
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
