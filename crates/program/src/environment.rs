//! The environment that the code linked here may read: this program's own variables, and
//! those of the C library's resolver.
//!
//! A pod's variables are often meant for every container of it at once (`envFrom`), and
//! what another program does with one is no business of a sidecar. C-core reads some
//! dozens, of which a single one (`GRPC_POLL_STRATEGY`, with a value that it does not
//! know) ends the process by SIGABRT. Rust's library reads `RUST_MIN_STACK`, which can make
//! threads impossible, and each other package may begin to read one with its next version.
//! So the names that stay are listed, and not those that go.

use std::ffi::OsStr;

/// What the C library's resolver reads (resolv.conf(5)): how names are looked up is the
/// machine's business, and an administrator may have set it.
const RESOLVER_VARIABLES: [&str; 2] = ["LOCALDOMAIN", "RES_OPTIONS"];

/// Whether a variable stays in a program that reads those of `own`.
#[must_use]
pub fn is_kept(name: &OsStr, own: &[&str]) -> bool {
    RESOLVER_VARIABLES
        .iter()
        .chain(own)
        .any(|kept| name == *kept)
}

/// Removes every variable that is not to stay in a program that reads those of `own`.
///
/// # Safety
///
/// No other thread may be running: the C library's environment has no lock that C and C++
/// would take (`std::env::remove_var`).
#[allow(unsafe_code, reason = "std::env::remove_var, see SAFETY")]
pub unsafe fn clean(own: &[&str]) {
    for (name, _) in std::env::vars_os() {
        // No name has an equals sign; where one seems to, as in "=a=b", getenv(3) does not
        // find the variable either, and remove_var would panic.
        let is_name = !name.is_empty() && !name.as_encoded_bytes().contains(&b'=');
        if is_name && !is_kept(&name, own) {
            // SAFETY: the caller promises that there is no other thread.
            unsafe { std::env::remove_var(&name) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [&str; 2] = ["CSI_ENDPOINT", "LIVENESS_PROBE_TIMEOUT"];

    #[test]
    fn what_is_documented_stays_and_nothing_else() {
        for name in ["CSI_ENDPOINT", "LIVENESS_PROBE_TIMEOUT", "RES_OPTIONS"] {
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
