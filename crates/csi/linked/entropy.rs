//! Random bytes for C-core without a file.
//!
//! Abseil seeds its random numbers by `ReadSeedMaterialFromOSEntropy`, which reads /dev/urandom
//! with musl as the C library. Where that file is missing (a container with a bare /dev, or a
//! driver's container in which the program is run), it throws an exception that no code catches:
//! the process ends by SIGABRT at the first connection. getrandom(2) needs no file. But a kernel
//! may lack it, a seccomp profile may forbid it, and it may not be ready in the first seconds of
//! a machine, so a second source stands in for it that cannot fail.
//!
//! C-core uses these numbers for jitter, such as that of its back-off times, and to choose which
//! events it samples. A program that links this has no TLS, token or key in C-core, so nothing
//! depends on these numbers being secret.

#![allow(
    unsafe_code,
    reason = "a C++ symbol and getrandom(2), see SAFETY at each"
)]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// `absl::Span<uint32_t>`: a pointer and a length.
#[repr(C)]
struct Span {
    words: *mut u32,
    length: usize,
}

/// `absl::random_internal::ReadSeedMaterialFromOSEntropy`, the one function of its object
/// file that C-core needs.
// SAFETY: name, argument and result are those of the function in Abseil 20230125. A Span is
// trivially copyable, so C++ passes it by value as C passes a structure.
#[unsafe(export_name = "_ZN4absl12lts_2023012515random_internal29ReadSeedMaterialFromOSEntropyENS0_4SpanIjEE")]
extern "C" fn read_seed_material(seed: Span) -> bool {
    if seed.words.is_null() {
        return false;
    }
    // SAFETY: the array is Abseil's, and nothing else uses it during this call.
    let words = unsafe { std::slice::from_raw_parts_mut(seed.words, seed.length) };
    if !fill_by_the_kernel(words) {
        let mut fallback = NotSecret::new();
        words.fill_with(|| fallback.next());
    }
    true
}

/// Fills the words by getrandom(2), which returns an error in place of waiting until the kernel
/// has gathered enough randomness. Returns false on an error.
fn fill_by_the_kernel(words: &mut [u32]) -> bool {
    let mut rest: &mut [u32] = words;
    while !rest.is_empty() {
        // SAFETY: getrandom(2) writes at most as many bytes as the slice has.
        let written = unsafe {
            libc::getrandom(
                rest.as_mut_ptr().cast(),
                size_of_val(rest),
                libc::GRND_NONBLOCK,
            )
        };
        match usize::try_from(written) {
            // Only whole words count as filled. The kernel cuts a read short beyond 256 bytes.
            Ok(bytes) if bytes >= size_of::<u32>() => {
                let done = bytes / size_of::<u32>();
                rest = rest.split_at_mut(done).1;
            }
            Err(_) if is_interrupted() => {}
            Ok(_) | Err(_) => return false,
        }
    }
    true
}

fn is_interrupted() -> bool {
    std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
}

/// A sequence that differs in each process but can be guessed: `SplitMix64`
/// (<https://prng.di.unimi.it/splitmix64.c>), seeded with the clocks, the process id, and the
/// address of the stack, which the kernel randomises.
struct NotSecret(u64);

impl NotSecret {
    fn new() -> NotSecret {
        let began = Instant::now();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let here = &raw const began;
        let parts = [
            now.as_secs(),
            u64::from(now.subsec_nanos()),
            u64::from(std::process::id()),
            u64::try_from(here.addr()).unwrap_or_default(),
            u64::from(began.elapsed().subsec_nanos()),
        ];
        parts.iter().fold(NotSecret(0), |mixed, part| {
            let mut mixed = NotSecret(mixed.0 ^ part);
            NotSecret(mixed.step())
        })
    }

    fn step(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn next(&mut self) -> u32 {
        u32::try_from(self.step() >> 32).unwrap_or_default()
    }
}
