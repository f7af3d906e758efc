//! The heap of what ships: dlmalloc for C, C++ and Rust, in place of musl's malloc, which
//! gives each group of larger blocks back to the kernel with its last one. A gRPC
//! connection takes some and frees them all: five times mmap(2), as often munmap(2) and
//! nine page faults for each probe. The owner of the package dlmalloc.
//!
//! Memory is taken from the kernel by 64 KiB, of which what is never touched costs
//! nothing, and kept up to 2 MiB; two rows of `docs/footprint.md` compare.
//! For C the rest of malloc(3) is musl's, which makes it of these (musl's
//! `__malloc_replaced`).

#![allow(unsafe_code, reason = "the C library's functions, see SAFETY at each")]

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlmalloc::Dlmalloc;

/// Nothing in here allocates or panics, so the lock is never asked for twice.
static HEAP: Mutex<Dlmalloc> = Mutex::new(Dlmalloc::new());

fn heap() -> MutexGuard<'static, Dlmalloc> {
    HEAP.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A block, or null with the number of the error where C looks for it.
fn told(block: *mut u8) -> *mut c_void {
    if block.is_null() {
        // SAFETY: the address of this thread's number, by the C library.
        unsafe { *libc::__errno_location() = libc::ENOMEM };
    }
    block.cast()
}

/// malloc(3).
// SAFETY: names, arguments and results here are those of the functions in POSIX, and
// memalign's in Linux.
#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut c_void {
    // SAFETY: any size may be asked for.
    told(unsafe { heap().c_malloc(size) })
}

/// calloc(3).
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    let Some(all) = count.checked_mul(size) else {
        return told(ptr::null_mut());
    };
    // SAFETY: any size may be asked for; an alignment of one is the natural one.
    told(unsafe { heap().calloc(all, 1) })
}

/// realloc(3).
///
/// # Safety
///
/// As of realloc(3).
// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    if block.is_null() {
        return malloc(size);
    }
    // SAFETY: the caller's block is of this heap, as there is no other one.
    told(unsafe { heap().c_realloc(block.cast(), size) })
}

/// free(3).
///
/// # Safety
///
/// As of free(3).
// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn free(block: *mut c_void) {
    if block.is_null() {
        return;
    }
    // Whoever cleans up after an error still wants its number, which a lock that is
    // waited for, or munmap(2), would change.
    // SAFETY: the address of this thread's number, by the C library.
    let error = unsafe { &mut *libc::__errno_location() };
    let number = *error;
    // SAFETY: the caller's block is of this heap, and nobody uses it any more.
    unsafe { heap().c_free(block.cast()) }
    *error = number;
}

/// `aligned_alloc(3)`.
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    // SAFETY: any size may be asked for, and each caller asks for a power of two.
    told(unsafe { heap().c_memalign(alignment, size) })
}

/// memalign(3).
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn memalign(alignment: usize, size: usize) -> *mut c_void {
    aligned_alloc(alignment, size)
}

/// `posix_memalign(3)`.
///
/// # Safety
///
/// As of `posix_memalign(3)`.
// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(
    block: *mut *mut c_void,
    alignment: usize,
    size: usize,
) -> c_int {
    let found = aligned_alloc(alignment, size);
    if found.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller's place for it.
    unsafe { *block = found };
    0
}
