//! An address that is accepted can be used for connect(2) or bind(2), and its text is parsed
//! to the same address again.

use std::os::unix::ffi::OsStrExt as _;

use csi::{CsiAddress, UNIX_PATH_MAX};
use front::ListenAddress;
use program::host_port::port;

/// Takes any bytes. Bytes that are not UTF-8 are replaced as the flags replace them.
pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match CsiAddress::parse(&text) {
        Ok(address) => is_usable(&address),
        Err(error) => assert!(
            error.contains("such as")
                || error.contains("write")
                || error.contains("at most")
                || error.contains("scheme"),
            "{error}"
        ),
    }
    match ListenAddress::parse(&text) {
        Ok(address) => {
            assert_eq!(
                ListenAddress::parse(&address.to_string()),
                Ok(address.clone())
            );
            assert!(is_host(&address.host));
        }
        Err(error) => assert!(error.contains(":9808"), "{error}"),
    }
    if let Ok(number) = port(&text) {
        assert!(text.bytes().all(|byte| byte.is_ascii_digit()));
        assert_eq!(text.trim_start_matches('0').parse().unwrap_or(0), number);
    }
}

fn is_usable(address: &CsiAddress) {
    let authority = address.authority();
    assert!(
        authority
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/')
    );
    match address {
        CsiAddress::Path(path) => {
            let bytes = path.as_os_str().as_bytes();
            assert!(!bytes.is_empty() && bytes.len() <= UNIX_PATH_MAX);
            assert!(!bytes.contains(&0) && !bytes.ends_with(b"/"));
            // The text of a relative address has no scheme.
            let written = format!("unix:{address}");
            if bytes.starts_with(b"/") && !bytes.starts_with(b"//") {
                assert_eq!(CsiAddress::parse(&written).as_ref(), Ok(address));
            }
        }
        CsiAddress::Abstract(name) => {
            assert!((1..=UNIX_PATH_MAX).contains(&name.len()) && !name.contains('\0'));
            assert_eq!(
                CsiAddress::parse(&address.to_string()).as_ref(),
                Ok(address)
            );
        }
        CsiAddress::Tcp { host, port } => {
            assert!(!host.is_empty() && is_host(host) && *port > 0);
            assert_eq!(
                CsiAddress::parse(&format!("tcp://{address}")).as_ref(),
                Ok(address)
            );
        }
    }
}

fn is_host(host: &str) -> bool {
    host.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._:%".contains(&byte))
}
