//! Removes the environment variables that neither the program nor the C library's resolver needs.
//!
//! Variables of a pod are often set for all of its containers at once (`envFrom`), and a sidecar
//! must not react to those of another program. C-core reads some dozens: `GRPC_POLL_STRATEGY` with
//! an unknown value ends the process by SIGABRT. Rust's standard library reads `RUST_MIN_STACK`,
//! with which no thread may start. Any other package may begin to read a variable with its next
//! version, so this is a list of the variables that stay, and not of those that go.

use std::ffi::OsStr;

/// The variables of the C library's resolver (resolv.conf(5)). They stay, because an administrator
/// may have configured with them how this node looks names up.
const RESOLVER_VARIABLES: [&str; 2] = ["LOCALDOMAIN", "RES_OPTIONS"];

/// Whether a variable stays in the environment of a program that reads the variables `own`.
#[must_use]
pub fn is_kept(name: &OsStr, own: &[&str]) -> bool {
    RESOLVER_VARIABLES
        .iter()
        .chain(own)
        .any(|kept| name == *kept)
}

/// Removes every variable but those of the resolver and `own`, the ones that the program reads.
///
/// # Safety
///
/// No other thread may be running, because C and C++ code reads the environment without a lock
/// (`std::env::remove_var`).
#[allow(unsafe_code, reason = "std::env::remove_var, see SAFETY")]
pub unsafe fn clean(own: &[&str]) {
    for (name, _) in std::env::vars_os() {
        // A name has no equals sign. If one seems to, as in "=a=b", remove_var would panic, and
        // getenv(3) does not find the variable anyway.
        let is_name = !name.is_empty() && !name.as_encoded_bytes().contains(&b'=');
        if is_name && !is_kept(&name, own) {
            // SAFETY: the caller guarantees that no other thread is running.
            unsafe { std::env::remove_var(&name) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [&str; 2] = ["CSI_ENDPOINT", "EXAMPLE_TIMEOUT"];

    #[test]
    fn only_the_programs_and_the_resolvers_variables_stay() {
        for name in ["CSI_ENDPOINT", "EXAMPLE_TIMEOUT", "RES_OPTIONS"] {
            assert!(is_kept(OsStr::new(name), &OWN), "{name}");
        }
        for name in [
            "",
            "GRPC_TRACE",
            "http_proxy",
            "RUST_MIN_STACK",
            "csi_endpoint",
        ] {
            assert!(!is_kept(OsStr::new(name), &OWN), "{name}");
        }
    }
}
