//! gRPC's C-core without threads of its own: the one of grpcio's completion queue
//! does all that a call needs.
//!
//! C-core would start an executor (two threads), a timer thread, and an event engine
//! (a pool of two and a timer thread again), whose two timers wake up once a second
//! each and more for as long as the process lives. Each object file of its library that
//! starts some is left out as in `parts`: what others name of it is defined here. That
//! this is right depends on what a call here does *not* use:
//!
//! - **Timers** of deadlines, backoff, connects and servers. call.rs ends calls, and
//!   the socket is connected. Were one set nevertheless, it would never fire.
//! - **The event engine**, in C-core 1.56 no more than a clock for HTTP/2 pings:
//!   a server's last words, keepalive, and what measures the bandwidth; call.rs turns off
//!   the latter two (`grpc.keepalive_time_ms`, `grpc.http2.bdp_probe`). We provide none, so any
//!   C-core code that asks for the event engine gets a null pointer. None of the paths we use
//!   asks. Without the first argument each channel would call through it when it is made,
//!   without the second when a driver answers a ping: docs/c-core.md.
//! - **The executor**, where C-core waits for room to write to a driver that does not
//!   read. Here it waits where it stands, in the completion queue's thread, for all
//!   drivers; so there has to be room always, and `sendmsg` in ration/system_calls.rs sees to
//!   it. And C-core uses it where a producer is in the middle of adding to a combiner's queue:
//!   that work comes back to the same thread, which tries again until the producer is done.
//!
//! An experiment of C-core changes what is used. All are off, also because the variable
//! `GRPC_EXPERIMENTS` is removed at the start (src/environment.rs).
//!
//! Rejected: starting those threads and ending them again, as `Executor::SetThreadingAll`
//! and `grpc_timer_manager_set_threading` do: a start would depend on as many threads as
//! before, and what they run would stay in the file, some 100 KiB.

#![allow(unsafe_code, reason = "C++ symbols, see SAFETY at each")]

use std::ffi::{c_int, c_uint, c_void};

// SAFETY: `void (const DebugLocation&, grpc_closure*, absl::Status)` in C-core 1.56.2.
unsafe extern "C" {
    /// Has the current thread run a closure, when it comes to it.
    #[link_name = "_ZN9grpc_core7ExecCtx3RunERKNS_13DebugLocationEP12grpc_closureN4absl12lts_202301256StatusE"]
    fn run_here(location: *const u8, closure: *mut c_void, error: *mut c_void);
}

/// `grpc_core::Executor::Run`: what an executor without threads does.
// SAFETY: the name and the arguments are those of the function that C-core declares. The
// third is an `absl::Status` by value, which is a pointer to the caller's (Itanium C++
// ABI, 3.1.1, as it has a destructor); the caller keeps it until this is over.
#[unsafe(export_name = "_ZN9grpc_core8Executor3RunEP12grpc_closureN4absl12lts_202301256StatusENS_12ExecutorTypeENS_15ExecutorJobTypeE")]
extern "C" fn executor_run(closure: *mut c_void, error: *mut c_void, _who: c_int, _how: c_int) {
    // Of no file and no line: it has those only where C-core is built to debug it.
    static LOCATION: [usize; 4] = [0; 4];
    // SAFETY: closure and error are passed on as they came, once. The location is as
    // large as one is at most, and stays.
    unsafe { run_here(LOCATION.as_ptr().cast(), closure, error) }
}

/// `grpc_core::Executor::IsThreadedDefault`.
// SAFETY: as its declaration, which takes nothing and gives a bool; so are those below,
// unless another reason is given.
#[unsafe(export_name = "_ZN9grpc_core8Executor17IsThreadedDefaultEv")]
extern "C" fn executor_is_threaded() -> bool {
    false
}

/// `grpc_core::Executor::InitAll`.
// SAFETY: as above.
#[unsafe(export_name = "_ZN9grpc_core8Executor7InitAllEv")]
extern "C" fn executor_init() {}

/// `grpc_core::Executor::ShutdownAll`.
// SAFETY: as above.
#[unsafe(export_name = "_ZN9grpc_core8Executor11ShutdownAllEv")]
extern "C" fn executor_shutdown() {}

/// `grpc_core::Executor::SetThreadingAll`, which is called around fork(2).
// SAFETY: as above, and takes a bool.
#[unsafe(export_name = "_ZN9grpc_core8Executor15SetThreadingAllEb")]
extern "C" fn executor_set_threading(_enable: bool) {}

/// `grpc_timer_manager_init`.
// SAFETY: as above.
#[unsafe(export_name = "_Z23grpc_timer_manager_initv")]
extern "C" fn timers_init() {}

/// `grpc_timer_manager_shutdown`.
// SAFETY: as above.
#[unsafe(export_name = "_Z27grpc_timer_manager_shutdownv")]
extern "C" fn timers_shutdown() {}

/// `grpc_timer_manager_set_threading`, likewise.
// SAFETY: as above, and takes a bool.
#[unsafe(export_name = "_Z32grpc_timer_manager_set_threadingb")]
extern "C" fn timers_set_threading(_enable: bool) {}

/// `grpc_kick_poller`: a timer is set that comes before all others.
// SAFETY: as above.
#[unsafe(export_name = "_Z16grpc_kick_pollerv")]
extern "C" fn timers_kick() {}

/// `grpc_event_engine::experimental::DefaultEventEngineFactory`: gives a null
/// `std::unique_ptr<EventEngine>`.
///
/// In assembly, because its result has a destructor: it is returned in memory of the
/// caller's, one word, whose address comes in the register that the platform has for
/// this. No type of Rust is returned that way in one word.
// SAFETY: writes that word, and returns as the platform's C++ ABI wants it: the address
// in the first register of results where it came in that of arguments.
#[unsafe(export_name = "_ZN17grpc_event_engine12experimental25DefaultEventEngineFactoryEv")]
#[unsafe(naked)]
extern "C" fn event_engine() {
    #[cfg(target_arch = "x86_64")]
    std::arch::naked_asm!("mov qword ptr [rdi], 0", "mov rax, rdi", "ret");
    #[cfg(target_arch = "aarch64")]
    std::arch::naked_asm!("str xzr, [x8]", "ret");
    #[cfg(target_arch = "arm")]
    std::arch::naked_asm!("mov r1, #0", "str r1, [r0]", "bx lr");
    #[cfg(target_arch = "riscv64")]
    std::arch::naked_asm!("sd zero, 0(a0)", "ret");
}

/// `grpc_core::IsExperimentEnabled`: none is.
// SAFETY: as its declaration, which takes a size_t and gives a bool.
#[cfg_attr(
    target_pointer_width = "64",
    unsafe(export_name = "_ZN9grpc_core19IsExperimentEnabledEm")
)]
#[cfg_attr(
    target_pointer_width = "32",
    unsafe(export_name = "_ZN9grpc_core19IsExperimentEnabledEj")
)]
extern "C" fn is_experiment_enabled(_number: usize) -> bool {
    false
}

/// `grpc_core::PrintExperimentsList`: there is nothing to tell.
// SAFETY: takes and gives nothing, as its declaration.
#[unsafe(export_name = "_ZN9grpc_core20PrintExperimentsListEv")]
extern "C" fn print_experiments() {}

/// `gpr_cpu_num_cores`: C-core has some of its counters for each processor. It
/// is told of one, and takes the same on each node.
// SAFETY: name, argument and result are those of the function that C-core declares; the
// object that defines it has this one, the next and nothing else.
#[unsafe(export_name = "gpr_cpu_num_cores")]
extern "C" fn cpu_count() -> c_uint {
    1
}

/// `gpr_cpu_current_cpu`, likewise: the first of them.
// SAFETY: as above.
#[unsafe(export_name = "gpr_cpu_current_cpu")]
extern "C" fn current_cpu() -> c_uint {
    0
}
