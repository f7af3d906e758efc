//! The address that a program listens on. Pure: nothing is resolved or opened here.

use std::fmt;
use std::net::IpAddr;

use program::host_port;

/// An address to listen on: `:9808`, `127.0.0.1:9808`, `[::1]:9808`, `name:9808`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// Host name or IP literal (no brackets); empty for every address.
    pub host: String,
    /// Port; 0 lets the kernel choose one, which the log then names.
    pub port: u16,
}

impl ListenAddress {
    /// Parses Go's `host:port` notation.
    ///
    /// # Errors
    ///
    /// Says what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<ListenAddress, String> {
        let (host, port) = host_port::split(text).map_err(|reason| {
            format!("{reason}; write host:port or :port, such as 127.0.0.1:9808 or :9808")
        })?;
        Ok(ListenAddress {
            host: host.to_owned(),
            port,
        })
    }

    /// This port of every address.
    #[must_use]
    pub fn on_every_interface(port: u16) -> ListenAddress {
        ListenAddress {
            host: String::new(),
            port,
        }
    }

    /// Whether this asks for every interface, in any of the notations. Go's
    /// net package opens all of them dual-stack, `0.0.0.0` included.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.host.is_empty()
            || self
                .host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_unspecified())
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        host_port::write(f, &self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_without_brackets_is_answered_with_them() {
        for (text, right) in [
            ("::1:9808", "[::1]:9808"),
            ("fd00::10:2:9909", "[fd00::10:2]:9909"),
            ("fe80::1%eth0:9808", "[fe80::1%eth0]:9808"),
            // Without a port there is one to choose.
            ("fd00::", "[fd00::]:PORT"),
            ("1:2:3:4:5:6:7:8", "[1:2:3:4:5:6:7:8]:PORT"),
            ("a:b:c", "[::1]:PORT"),
        ] {
            let error = ListenAddress::parse(text).unwrap_err();
            assert!(error.contains(&format!("write {right}")), "{text}: {error}");
            assert!(error.contains("[$(POD_IP)]:"), "{text}: {error}");
        }
    }

    #[test]
    fn listen_addresses_are_go_s() {
        for (text, host, port, wildcard) in [
            (":9808", "", 9808, true),
            ("0.0.0.0:9808", "0.0.0.0", 9808, true),
            ("[::]:9808", "::", 9808, true),
            ("[::0]:9808", "::0", 9808, true),
            ("127.0.0.1:0", "127.0.0.1", 0, false),
            ("[::1]:9808", "::1", 9808, false),
            ("localhost:9808", "localhost", 9808, false),
            ("[10.0.0.1]:9808", "10.0.0.1", 9808, false),
            ("[0.0.0.0]:9808", "0.0.0.0", 9808, true),
        ] {
            let address = ListenAddress::parse(text).unwrap();
            assert_eq!((address.host.as_str(), address.port), (host, port));
            assert_eq!(address.is_wildcard(), wildcard, "{text}");
            let is_ipv6 = host.contains(':');
            let written = if is_ipv6 {
                text.to_owned()
            } else {
                text.replace(['[', ']'], "")
            };
            assert_eq!(address.to_string(), written);
        }
        for text in [
            "",
            "[]:9808",
            "[csi]:9808",
            "9808",
            "localhost",
            "a:b:c",
            "::1:9808",
            "a b:1",
            ":http",
            ":-1",
        ] {
            assert!(
                ListenAddress::parse(text).unwrap_err().contains(":9808"),
                "{text}"
            );
        }
        assert!(host_port::port("70000").unwrap_err().contains("65535"));
    }
}
