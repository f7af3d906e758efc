//! gRPC's C-core without threads of its own: grpcio's one thread, that of the completion queue,
//! does all the work of a call.
//!
//! C-core would start an executor (two threads), a timer thread, and an event engine (a pool of
//! two threads and a second timer thread). Both timer threads wake up at least once a second for
//! as long as the process lives. We keep out every C-core object file that starts a thread, as
//! `plugins` does, and define here the symbols that other object files need from it. This is
//! correct only because our calls do *not* use the following:
//!
//! - **Timers**, which C-core sets for deadlines, backoff, connects and servers. call.rs ends calls
//!   and passes a connected socket. If C-core set a timer nevertheless, it would never fire.
//! - **The event engine**, which in C-core 1.56 is only a clock for HTTP/2 pings: for keepalive,
//!   for measuring the bandwidth, and for a server's graceful GOAWAY. We provide none, so any
//!   C-core code that asks for the event engine gets a null pointer. None of the paths we use asks.
//!   Two lines in call.rs are load-bearing for this, because they turn off the pings of a client:
//!   without `grpc.keepalive_time_ms` each channel would call through the null pointer when it is
//!   made, and without `grpc.http2.bdp_probe` when a driver answers a ping (docs/c-core.md).
//! - **The executor**, by which C-core waits for room to write to a driver that does not read.
//!   Without executor threads it would wait in the completion queue's thread, and the calls of all
//!   drivers with it. `sendmsg` in read_limit/system_calls.rs is load-bearing for this: it never
//!   returns EAGAIN or ENOBUFS for a driver's socket, so C-core never waits for room.
//!
//! C-core also passes work to the executor in `grpc_combiner_continue_exec_ctx` (combiner.cc),
//! where it finds that "queue is in an inconsistent state": a producer has taken its place in the
//! combiner's queue and has not linked its entry yet. That work comes back to the same thread,
//! which tries again until the producer has executed two more instructions. The spin is short, and
//! it ends under any fair scheduler.
//!
//! An experiment of C-core could change which of these it uses. `is_experiment_enabled` below
//! turns all of them off, and each program also removes `GRPC_EXPERIMENTS` from its environment
//! when it starts (`program::environment`).
//!
//! Rejected: letting C-core start those threads and ending them again, by
//! `Executor::SetThreadingAll` and `grpc_timer_manager_set_threading`. The start would need as many
//! threads as before, and their code, some 100 KiB, would stay in the file.

#![allow(unsafe_code, reason = "C++ symbols, see SAFETY at each")]

use std::ffi::{c_int, c_uint, c_void};

// SAFETY: `void (const DebugLocation&, grpc_closure*, absl::Status)` in C-core 1.56.2.
unsafe extern "C" {
    /// Queues a closure, which the current thread runs before it leaves C-core.
    #[link_name = "_ZN9grpc_core7ExecCtx3RunERKNS_13DebugLocationEP12grpc_closureN4absl12lts_202301256StatusE"]
    fn run_here(location: *const u8, closure: *mut c_void, error: *mut c_void);
}

/// `grpc_core::Executor::Run`, which does the same as C-core's executor does when it has no
/// threads (executor.cc).
// SAFETY: name and arguments are those that C-core declares. The second is an `absl::Status` by
// value. It has a destructor, so the caller passes a pointer to its copy (Itanium C++ ABI, 3.1.1)
// and keeps that copy until this function returns.
#[unsafe(export_name = "_ZN9grpc_core8Executor3RunEP12grpc_closureN4absl12lts_202301256StatusENS_12ExecutorTypeENS_15ExecutorJobTypeE")]
extern "C" fn executor_run(
    closure: *mut c_void,
    error: *mut c_void,
    _executor_type: c_int,
    _job_type: c_int,
) {
    // A `DebugLocation` is empty unless C-core is built for debugging. Then it holds a file name
    // and a line, for which four words are enough.
    static LOCATION: [usize; 4] = [0; 4];
    // SAFETY: closure and error are passed on unchanged and once. The location is static, and at
    // least as large as any `DebugLocation`.
    unsafe { run_here(LOCATION.as_ptr().cast(), closure, error) }
}

/// `grpc_core::Executor::IsThreadedDefault`.
// SAFETY: C-core declares it without arguments, and with a bool as its result. "As above" below
// means that arguments and result are those of C-core's declaration.
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

/// `grpc_core::Executor::SetThreadingAll`, which C-core calls around fork(2).
// SAFETY: as above.
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

/// `grpc_timer_manager_set_threading`, which C-core calls around fork(2), too.
// SAFETY: as above.
#[unsafe(export_name = "_Z32grpc_timer_manager_set_threadingb")]
extern "C" fn timers_set_threading(_enable: bool) {}

/// `grpc_kick_poller`, by which C-core wakes its timer thread for an earlier timer.
// SAFETY: as above.
#[unsafe(export_name = "_Z16grpc_kick_pollerv")]
extern "C" fn timers_kick() {}

/// `grpc_event_engine::experimental::DefaultEventEngineFactory`, which returns a null
/// `std::unique_ptr<EventEngine>`.
///
/// It is written in assembly, because the result has a destructor. C++ returns such a value in
/// memory of the caller, here one word, whose address it passes in a register that the platform
/// defines. Rust has no type of one word that it returns in this way.
// SAFETY: the function writes that one word and returns as the platform's C++ ABI demands. Where
// the address comes in the first register of the arguments, it is also the result.
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

/// `grpc_core::IsExperimentEnabled`, which is false for all of them.
// SAFETY: C-core declares it with a size_t as its argument and a bool as its result.
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

/// `grpc_core::PrintExperimentsList`, which logs the experiments that are on: none.
// SAFETY: as above.
#[unsafe(export_name = "_ZN9grpc_core20PrintExperimentsListEv")]
extern "C" fn print_experiments() {}

/// `gpr_cpu_num_cores`. C-core allocates some of its counters for each processor. With one it takes
/// the same memory on each node.
// SAFETY: as above. In the archive, its object file defines this function and the next one alone.
#[unsafe(export_name = "gpr_cpu_num_cores")]
extern "C" fn cpu_count() -> c_uint {
    1
}

/// `gpr_cpu_current_cpu`. Its result must be below that of `gpr_cpu_num_cores`, because C-core uses
/// it as an index.
// SAFETY: as above.
#[unsafe(export_name = "gpr_cpu_current_cpu")]
extern "C" fn current_cpu() -> c_uint {
    0
}
