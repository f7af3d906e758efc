//! The heap of static builds: dlmalloc for C, C++ and Rust, in place of musl's malloc. This file
//! alone uses the package dlmalloc.
//!
//! musl's malloc returns a group of larger blocks to the kernel as soon as the last block of the
//! group is freed. A gRPC connection allocates a few such blocks and frees them all, so each call
//! over a connection of its own would cost five mmap(2), five munmap(2) and nine page faults.
//! dlmalloc asks the kernel for 64 KiB at a time, whose untouched pages cost nothing, and keeps up
//! to 2 MiB of free memory. docs/footprint.md compares both allocators.
//!
//! musl builds the rest of malloc(3), such as reallocarray, on the functions below
//! (`__malloc_replaced` in its source). The list of seven is load-bearing: if one were missing,
//! musl's heap would allocate blocks that this heap frees.

#![allow(unsafe_code, reason = "the C library's functions, see SAFETY at each")]

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlmalloc::Dlmalloc;

/// A thread never locks this twice, because dlmalloc neither allocates through the functions
/// below nor panics while it holds the lock.
static HEAP: Mutex<Dlmalloc> = Mutex::new(Dlmalloc::new());

fn heap() -> MutexGuard<'static, Dlmalloc> {
    HEAP.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the block to C, and sets errno to ENOMEM if there is none.
fn or_enomem(block: *mut u8) -> *mut c_void {
    if block.is_null() {
        // SAFETY: the C library returns the address of this thread's errno.
        unsafe { *libc::__errno_location() = libc::ENOMEM };
    }
    block.cast()
}

/// malloc(3).
// SAFETY: names, arguments and results of these functions are those that POSIX has, and for
// memalign those of Linux.
#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut c_void {
    // SAFETY: dlmalloc takes any size.
    or_enomem(unsafe { heap().c_malloc(size) })
}

/// calloc(3).
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    let Some(all) = count.checked_mul(size) else {
        return or_enomem(ptr::null_mut());
    };
    // SAFETY: dlmalloc takes any size. For an alignment of one it returns its natural alignment,
    // which is that of malloc(3).
    or_enomem(unsafe { heap().calloc(all, 1) })
}

/// realloc(3).
///
/// # Safety
///
/// The caller's duties are those of realloc(3).
// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    if block.is_null() {
        return malloc(size);
    }
    // SAFETY: the block comes from this heap, because the process has no other.
    or_enomem(unsafe { heap().c_realloc(block.cast(), size) })
}

/// free(3).
///
/// # Safety
///
/// The caller's duties are those of free(3).
// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn free(block: *mut c_void) {
    if block.is_null() {
        return;
    }
    // Code that cleans up after an error frees memory before it reads errno, so free(3) must keep
    // errno (POSIX.1-2024). Waiting for the lock and munmap(2) could change it.
    // SAFETY: the C library returns the address of this thread's errno.
    let errno = unsafe { &mut *libc::__errno_location() };
    let before = *errno;
    // SAFETY: the block comes from this heap, and the caller gives it up.
    unsafe { heap().c_free(block.cast()) }
    *errno = before;
}

/// `aligned_alloc(3)`.
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    // SAFETY: dlmalloc takes any size. POSIX has callers pass a power of two as the alignment.
    or_enomem(unsafe { heap().c_memalign(alignment, size) })
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
/// The caller's duties are those of `posix_memalign(3)`.
// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(
    block: *mut *mut c_void,
    alignment: usize,
    size: usize,
) -> c_int {
    let aligned = aligned_alloc(alignment, size);
    if aligned.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller passes a pointer to which the result is to be written.
    unsafe { *block = aligned };
    0
}
