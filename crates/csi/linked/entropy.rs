//! Random bytes for C-core without a file.
//!
//! Abseil's random numbers are seeded by `ReadSeedMaterialFromOSEntropy`. With musl for the C
//! library it reads /dev/urandom, and where there is no such file (a container with a bare
//! /dev, or a driver's own in which `--once` runs) it throws an exception that nothing catches:
//! SIGABRT at the first connection. getrandom(2) needs no file. It may be missing, forbidden
//! by a seccomp profile, or not ready in the first seconds of a machine, so there is a second
//! way that cannot fail.
//!
//! What C-core makes of it in this program is jitter, such as that of its back-off times, and
//! the choice of which events it samples. There is no TLS, no token and no key, so nothing
//! depends on that a stranger cannot guess it.

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
// SAFETY: the name is that of the function in Abseil 20230125, and so are the result and the
// argument: a Span is trivially copyable, and is passed by value as a structure of C is.
#[unsafe(export_name = "_ZN4absl12lts_2023012515random_internal29ReadSeedMaterialFromOSEntropyENS0_4SpanIjEE")]
extern "C" fn read_seed_material(seed: Span) -> bool {
    if seed.words.is_null() {
        return false;
    }
    // SAFETY: Abseil's own array, which nothing else uses meanwhile.
    let words = unsafe { std::slice::from_raw_parts_mut(seed.words, seed.length) };
    if !fill_by_the_kernel(words) {
        let mut guessable = Guessable::new();
        words.fill_with(|| guessable.next());
    }
    true
}

/// getrandom(2), without waiting for a machine that has no randomness yet.
fn fill_by_the_kernel(words: &mut [u32]) -> bool {
    let mut rest: &mut [u32] = words;
    while !rest.is_empty() {
        // SAFETY: writes at most as many bytes as the slice has.
        let written = unsafe {
            libc::getrandom(
                rest.as_mut_ptr().cast(),
                size_of_val(rest),
                libc::GRND_NONBLOCK,
            )
        };
        match usize::try_from(written) {
            // Whole words; up to 256 bytes come at once.
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

/// A sequence that is another one in each process, and no secret: `SplitMix64`
/// (<https://prng.di.unimi.it/splitmix64.c>) from the clocks, the process' number, and the
/// address of the stack, which the kernel chooses.
struct Guessable(u64);

impl Guessable {
    fn new() -> Guessable {
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
        parts.iter().fold(Guessable(0), |mixed, part| {
            let mut mixed = Guessable(mixed.0 ^ part);
            Guessable(mixed.step())
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
        // The upper half.
        u32::try_from(self.step() >> 32).unwrap_or_default()
    }
}
