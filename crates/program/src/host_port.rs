//! Go's `host:port` notation, in which addresses of drivers and of listeners are written. This
//! module resolves no name.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Writes `host:port`, with brackets around an IPv6 address.
///
/// # Errors
///
/// The formatter's error.
pub fn write(f: &mut fmt::Formatter<'_>, host: &str, port: u16) -> fmt::Result {
    if host.contains(':') {
        write!(f, "[{host}]:{port}")
    } else {
        write!(f, "{host}:{port}")
    }
}

/// Splits `host:port`, `[v6]:port` or `:port`.
///
/// # Errors
///
/// The message says what is wrong with the host or the port.
pub fn split(text: &str) -> Result<(&str, u16), String> {
    let Some((host, digits)) = text.rsplit_once(':') else {
        return Err("no port in it".to_owned());
    };
    let host = match host.strip_prefix('[') {
        Some(inner) => {
            let inner = inner
                .strip_suffix(']')
                .ok_or_else(|| "the bracket of the IPv6 address is not closed".to_owned())?;
            // Go accepts any host in brackets, so [$(POD_IP)]:9808 works for IPv4 and for IPv6.
            if !inner.contains(':') && inner.parse::<Ipv4Addr>().is_err() {
                return Err(match inner {
                    "" => "there is nothing in the brackets; where a variable was meant to \
                           be, it is empty"
                        .to_owned(),
                    inner => format!("{inner:?} in brackets is no IPv6 address, nor an IPv4 one"),
                });
            }
            inner
        }
        None if host.contains(':') => return Err(without_brackets(text, host, digits)),
        None => host,
    };
    // Host names and IP literals (with a zone) consist of these characters. Any other would fail
    // only in the resolver, whose error does not name it.
    if let Some(bad) = host
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !"-._:%".contains(*c))
    {
        return Err(format!("{bad:?} cannot be part of a host name"));
    }
    Ok((host, port(digits)?))
}

/// The message for an IPv6 address without brackets, which shows how to write it.
fn without_brackets(text: &str, host: &str, digits: &str) -> String {
    let is_ipv6 = |text: &str| {
        let address = text.split('%').next().unwrap_or(text);
        address.parse::<Ipv6Addr>().is_ok()
    };
    let (host, port) = if is_ipv6(host) {
        (host, digits)
    } else if is_ipv6(text) {
        (text, "PORT")
    } else {
        ("::1", "PORT")
    };
    format!(
        "an IPv6 address needs brackets: write [{host}]:{port}; if it came from $(POD_IP), \
         write [$(POD_IP)]:{port}, which is right for IPv4, too"
    )
}

/// Parses a port.
///
/// # Errors
///
/// The message says what a port is.
pub fn port(text: &str) -> Result<u16, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        // Rust's parser accepts "+80", too.
        Ok(port) if digits => Ok(port),
        _ => Err(format!(
            "{text:?} is no port; a port is a number from 0 to 65535"
        )),
    }
}
