//! The addresses a user can give: where the CSI driver listens, and where we
//! do. Pure: nothing is opened, connected or resolved here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// The longest path a Unix socket can have: `sun_path` is 108 bytes with the
/// closing NUL (unix(7)).
pub const UNIX_PATH_MAX: usize = 107;

/// Where the CSI driver listens, in one of the forms that grpc-go's resolvers
/// take (<https://github.com/grpc/grpc/blob/master/doc/naming.md>).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CsiAddress {
    /// A socket file.
    Path(PathBuf),
    /// A name in Linux's abstract socket namespace, without its leading NUL.
    Abstract(String),
    /// A host name or IP literal (no brackets) and a port.
    Tcp {
        /// Host name or IP literal.
        host: String,
        /// Port, never 0.
        port: u16,
    },
}

/// What `--csi-address` takes, for every message that refuses one.
const CSI_FORMS: &str = "write /path/to/csi.sock, unix:///path/to/csi.sock, unix:relative/path, \
                         unix-abstract:name, tcp://host:port or host:port";

impl CsiAddress {
    /// Parses one of the forms that `--help` lists for `--csi-address`.
    ///
    /// # Errors
    ///
    /// Says what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<CsiAddress, String> {
        if text.is_empty() {
            return Err(format!("it is empty; {CSI_FORMS}"));
        }
        if let Some(position) = text.bytes().position(|byte| byte == 0) {
            return Err(format!("byte {position} is NUL; {CSI_FORMS}"));
        }
        if text.starts_with('/') {
            return unix_path(text);
        }
        if let Some(name) = text.strip_prefix("unix-abstract:") {
            return unix_abstract(name);
        }
        if let Some(rest) = text.strip_prefix("unix:") {
            return unix(rest);
        }
        for scheme in ["tcp://", "dns:///", "dns:"] {
            if let Some(rest) = text.strip_prefix(scheme) {
                return tcp(rest);
            }
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(format!("unknown scheme {scheme:?}; {CSI_FORMS}"));
        }
        if text.contains('/') {
            return Err(format!(
                "a relative path needs its scheme, unix:{text}; {CSI_FORMS}"
            ));
        }
        tcp(text)
    }

    /// Parses the value of `CSI_ENDPOINT`, which drivers read, too. Of
    /// `unix://csi/csi.sock` they make `/csi/csi.sock`: they take `unix://` off, in upper
    /// or lower case, and put a slash in front of the rest
    /// (<https://github.com/kubernetes-retired/drivers/blob/master/pkg/csi-common/server.go>,
    /// from which many have it).
    ///
    /// # Errors
    ///
    /// As [`CsiAddress::parse`].
    pub fn parse_endpoint(text: &str) -> Result<CsiAddress, String> {
        const SCHEME: &str = "unix://";
        match text.split_at_checked(SCHEME.len()) {
            Some((scheme, path)) if scheme.eq_ignore_ascii_case(SCHEME) && !path.is_empty() => {
                CsiAddress::parse(&format!("/{}", path.trim_start_matches('/')))
            }
            _ => CsiAddress::parse(text),
        }
    }

    /// The `:authority` of the HTTP/2 request: what grpc-go sends, too. Some
    /// servers (h2, and so tonic) refuse a path there.
    #[must_use]
    pub fn authority(&self) -> String {
        match self {
            CsiAddress::Path(_) | CsiAddress::Abstract(_) => "localhost".to_owned(),
            CsiAddress::Tcp { .. } => self.to_string(),
        }
    }
}

impl fmt::Display for CsiAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CsiAddress::Path(path) => write!(f, "{}", path.display()),
            CsiAddress::Abstract(name) => write!(f, "unix-abstract:{name}"),
            CsiAddress::Tcp { host, port } => write_host_port(f, host, *port),
        }
    }
}

/// What follows `unix:`, with or without the slashes of a URL.
fn unix(rest: &str) -> Result<CsiAddress, String> {
    match rest.strip_prefix("//") {
        Some(path) if path.starts_with('/') => unix_path(path),
        // unix://csi/csi.sock would name a host "csi": the slash that is
        // missing is the usual mistake, and guessing would probe another file.
        Some(path) => Err(format!(
            "unix:// needs an absolute path; write unix:///{path}, or unix:{path} for a relative one"
        )),
        None => match rest.strip_prefix('@') {
            // Go's net package, and so every Go sidecar, reads @ as abstract.
            Some(name) => unix_abstract(name),
            None => unix_path(rest),
        },
    }
}

fn unix_path(path: &str) -> Result<CsiAddress, String> {
    check_length("path", path)?;
    if path.ends_with('/') {
        return Err(
            "it names a directory; name the socket in it, such as /csi/csi.sock".to_owned(),
        );
    }
    Ok(CsiAddress::Path(PathBuf::from(path)))
}

fn unix_abstract(name: &str) -> Result<CsiAddress, String> {
    check_length("name", name)?;
    Ok(CsiAddress::Abstract(name.to_owned()))
}

fn check_length(what: &str, text: &str) -> Result<(), String> {
    match text.len() {
        0 => Err(format!("the socket's {what} is empty; {CSI_FORMS}")),
        1..=UNIX_PATH_MAX => Ok(()),
        length => Err(format!(
            "the socket's {what} has {length} bytes, and a Unix socket's can have at most {UNIX_PATH_MAX}"
        )),
    }
}

fn tcp(text: &str) -> Result<CsiAddress, String> {
    let (host, port) = host_port(text).map_err(|reason| format!("{reason}; {CSI_FORMS}"))?;
    if host.is_empty() {
        return Err(format!("no host before the port; {CSI_FORMS}"));
    }
    if port == 0 {
        return Err(format!("nobody can listen on port 0; {CSI_FORMS}"));
    }
    Ok(CsiAddress::Tcp {
        host: host.to_owned(),
        port,
    })
}

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
        let (host, port) = host_port(text).map_err(|reason| {
            format!("{reason}; write host:port or :port, such as 127.0.0.1:9808 or :9808")
        })?;
        Ok(ListenAddress {
            host: host.to_owned(),
            port,
        })
    }

    /// The address that `--health-port` stands for.
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
        write_host_port(f, &self.host, self.port)
    }
}

fn write_host_port(f: &mut fmt::Formatter<'_>, host: &str, port: u16) -> fmt::Result {
    if host.contains(':') {
        write!(f, "[{host}]:{port}")
    } else {
        write!(f, "{host}:{port}")
    }
}

/// Splits `host:port`, `[v6]:port` or `:port`.
fn host_port(text: &str) -> Result<(&str, u16), String> {
    let Some((host, digits)) = text.rsplit_once(':') else {
        return Err("no port in it".to_owned());
    };
    let host = match host.strip_prefix('[') {
        Some(inner) => {
            let inner = inner
                .strip_suffix(']')
                .ok_or_else(|| "the bracket of the IPv6 address is not closed".to_owned())?;
            // Go takes any host in brackets, so that [$(POD_IP)]:9808 is right for both.
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
    // What a host name or an IP literal (with a zone) can be made of. The rest
    // would only fail later, in a resolver, without saying why.
    if let Some(bad) = host
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !"-._:%".contains(*c))
    {
        return Err(format!("{bad:?} cannot be part of a host name"));
    }
    Ok((host, port(digits)?))
}

/// What to write for an IPv6 address that stands there without brackets.
fn without_brackets(text: &str, host: &str, digits: &str) -> String {
    let is_ipv6 = |text: &str| {
        let address = text.split('%').next().unwrap_or(text);
        address.parse::<Ipv6Addr>().is_ok()
    };
    let (host, port) = if is_ipv6(host) {
        (host, digits)
    } else if is_ipv6(text) {
        (text, "9808")
    } else {
        ("::1", "9808")
    };
    format!(
        "an IPv6 address needs brackets: write [{host}]:{port}; where it came of $(POD_IP), \
         write [$(POD_IP)]:{port}, which is right for IPv4, too"
    )
}

/// Parses a port.
///
/// # Errors
///
/// Says what a port is.
pub fn port(text: &str) -> Result<u16, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        // Digits alone: Rust would take "+80".
        Ok(port) if digits => Ok(port),
        _ => Err(format!(
            "{text:?} is no port; a port is a number from 0 to 65535"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp_address(host: &str, port: u16) -> CsiAddress {
        CsiAddress::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn every_form_of_a_csi_address_is_understood() {
        let table = [
            ("/csi/csi.sock", CsiAddress::Path("/csi/csi.sock".into())),
            (
                "unix:///csi/csi.sock",
                CsiAddress::Path("/csi/csi.sock".into()),
            ),
            (
                "unix:/csi/csi.sock",
                CsiAddress::Path("/csi/csi.sock".into()),
            ),
            ("unix:csi.sock", CsiAddress::Path("csi.sock".into())),
            ("unix:a/b.sock", CsiAddress::Path("a/b.sock".into())),
            (
                "unix-abstract:driver",
                CsiAddress::Abstract("driver".into()),
            ),
            ("unix:@driver", CsiAddress::Abstract("driver".into())),
            ("tcp://127.0.0.1:10000", tcp_address("127.0.0.1", 10000)),
            ("tcp://[::1]:10000", tcp_address("::1", 10000)),
            (
                "tcp://[fe80::1%eth0]:10000",
                tcp_address("fe80::1%eth0", 10000),
            ),
            ("localhost:10000", tcp_address("localhost", 10000)),
            ("[::1]:10000", tcp_address("::1", 10000)),
            ("dns:///csi.example:443", tcp_address("csi.example", 443)),
            ("dns:csi.example:443", tcp_address("csi.example", 443)),
            // What C-core would have split, decoded or sent to DNS.
            (
                "/csi/a,b?c#d%20e",
                CsiAddress::Path("/csi/a,b?c#d%20e".into()),
            ),
        ];
        for (text, address) in table {
            assert_eq!(CsiAddress::parse(text), Ok(address), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_right_is_refused_with_what_would_be() {
        let long = format!("/{}", "x".repeat(UNIX_PATH_MAX));
        let table = [
            ("", "/path/to/csi.sock"),
            ("csi.sock", "no port"),
            ("csi/csi.sock", "unix:csi/csi.sock"),
            ("./csi.sock", "unix:./csi.sock"),
            ("unix://csi/csi.sock", "unix:///csi/csi.sock"),
            ("unix://", "absolute path"),
            ("unix:", "empty"),
            ("unix:@", "empty"),
            ("unix-abstract:", "empty"),
            ("/csi/", "names a directory"),
            ("http://csi:80", "unknown scheme \"http\""),
            ("tcp://csi", "no port"),
            ("tcp://:80", "no host"),
            ("tcp://csi:0", "port 0"),
            ("tcp://csi:65536", "65535"),
            ("tcp://csi:+80", "65535"),
            ("tcp://::1:80", "brackets"),
            ("tcp://[::1:80", "not closed"),
            ("tcp://[csi]:80", "no IPv6"),
            ("tcp://a,b:80", "','"),
            ("dns://8.8.8.8/csi:80", "'/'"),
            ("/csi/\0.sock", "NUL"),
            (&long, "at most 107"),
        ];
        for (text, hint) in table {
            let error = CsiAddress::parse(text).expect_err(text);
            assert!(error.contains(hint), "{text}: {error}");
        }
        assert!(CsiAddress::parse(&long[..UNIX_PATH_MAX]).is_ok());
    }

    #[test]
    fn an_endpoint_is_read_as_drivers_read_it() {
        for (text, path) in [
            ("unix://csi/csi.sock", "/csi/csi.sock"),
            ("unix:///csi/csi.sock", "/csi/csi.sock"),
            ("UNIX://csi/csi.sock", "/csi/csi.sock"),
            ("unix://csi.sock", "/csi.sock"),
            ("unix:csi/csi.sock", "csi/csi.sock"),
            ("/csi/csi.sock", "/csi/csi.sock"),
        ] {
            assert_eq!(
                CsiAddress::parse_endpoint(text),
                Ok(CsiAddress::Path(path.into())),
                "{text}"
            );
        }
        let tcp = CsiAddress::parse_endpoint("tcp://127.0.0.1:10000");
        assert_eq!(tcp, Ok(tcp_address("127.0.0.1", 10000)));
        for text in ["unix://", "unix://csi/", "x", "\u{20ac}\u{20ac}\u{20ac}"] {
            assert!(CsiAddress::parse_endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_ipv6_address_without_brackets_is_answered_with_them() {
        for (text, right) in [
            ("::1:9808", "[::1]:9808"),
            ("fd00::10:2:9909", "[fd00::10:2]:9909"),
            ("fe80::1%eth0:9808", "[fe80::1%eth0]:9808"),
            // Without a port there is one to choose.
            ("fd00::", "[fd00::]:9808"),
            ("1:2:3:4:5:6:7:8", "[1:2:3:4:5:6:7:8]:9808"),
            ("a:b:c", "[::1]:9808"),
        ] {
            let error = ListenAddress::parse(text).unwrap_err();
            assert!(error.contains(&format!("write {right}")), "{text}: {error}");
            assert!(error.contains("[$(POD_IP)]:9"), "{text}: {error}");
        }
    }

    #[test]
    fn the_authority_is_never_a_path() {
        for text in ["/csi/csi.sock", "unix:csi.sock", "unix-abstract:x"] {
            assert_eq!(CsiAddress::parse(text).unwrap().authority(), "localhost");
        }
        let tcp = CsiAddress::parse("tcp://[::1]:10000").unwrap();
        assert_eq!(tcp.authority(), "[::1]:10000");
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
        assert!(port("70000").unwrap_err().contains("65535"));
    }
}
