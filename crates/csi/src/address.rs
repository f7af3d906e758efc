//! The address of a CSI driver, and how it is parsed. This module neither connects nor resolves a
//! name.

use std::fmt;
use std::path::PathBuf;

use program::host_port;

/// The longest path of a Unix socket, in bytes. `sun_path` has 108 with the closing NUL (unix(7)).
pub const UNIX_PATH_MAX: usize = 107;

/// The address that a CSI driver listens on, in one of the forms that grpc-go's resolvers accept
/// (<https://github.com/grpc/grpc/blob/master/doc/naming.md>).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CsiAddress {
    /// The path of a socket file.
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

/// The forms that `--csi-address` accepts, for the error messages.
const CSI_FORMS: &str = "write /path/to/csi.sock, unix:///path/to/csi.sock, unix:relative/path, \
                         unix-abstract:name, tcp://host:port or host:port";

impl CsiAddress {
    /// Parses one of the forms that `--help` lists for `--csi-address`.
    ///
    /// # Errors
    ///
    /// The message says what is wrong with the text, and which forms are accepted.
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

    /// Parses the value of `CSI_ENDPOINT` as drivers do, which read the same variable. Many of them
    /// share code that strips `unix://`, in upper or lower case, and puts a slash in front of the
    /// rest, so that `unix://csi/csi.sock` means `/csi/csi.sock`
    /// (<https://github.com/kubernetes-retired/drivers/blob/master/pkg/csi-common/server.go>).
    ///
    /// # Errors
    ///
    /// Those of [`CsiAddress::parse`].
    pub fn parse_endpoint(text: &str) -> Result<CsiAddress, String> {
        const SCHEME: &str = "unix://";
        match text.split_at_checked(SCHEME.len()) {
            Some((scheme, path)) if scheme.eq_ignore_ascii_case(SCHEME) && !path.is_empty() => {
                CsiAddress::parse(&format!("/{}", path.trim_start_matches('/')))
            }
            _ => CsiAddress::parse(text),
        }
    }

    /// The `:authority` of the HTTP/2 requests, which is the one that grpc-go sends. Some servers
    /// (h2, and so tonic) refuse a path there.
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
            CsiAddress::Tcp { host, port } => host_port::write(f, host, *port),
        }
    }
}

/// Parses the text behind `unix:`, with or without the slashes of a URL.
fn unix(rest: &str) -> Result<CsiAddress, String> {
    match rest.strip_prefix("//") {
        Some(path) if path.starts_with('/') => unix_path(path),
        // unix://csi/csi.sock names a host "csi". Usually a slash is missing, but if we added it
        // and were wrong, we would connect to another file.
        Some(path) => Err(format!(
            "unix:// needs an absolute path; write unix:///{path}, or unix:{path} for a relative one"
        )),
        None => match rest.strip_prefix('@') {
            // Go's net package takes a leading @ for an abstract name, and so does every sidecar in
            // Go.
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

fn check_length(kind: &str, text: &str) -> Result<(), String> {
    match text.len() {
        0 => Err(format!("the socket's {kind} is empty; {CSI_FORMS}")),
        1..=UNIX_PATH_MAX => Ok(()),
        length => Err(format!(
            "the socket's {kind} has {length} bytes, and a Unix socket's can have at most {UNIX_PATH_MAX}"
        )),
    }
}

fn tcp(text: &str) -> Result<CsiAddress, String> {
    let (host, port) = host_port::split(text).map_err(|reason| format!("{reason}; {CSI_FORMS}"))?;
    if host.is_empty() {
        return Err(format!("no host before the port; {CSI_FORMS}"));
    }
    if port == 0 {
        return Err(format!("no driver can listen on port 0; {CSI_FORMS}"));
    }
    Ok(CsiAddress::Tcp {
        host: host.to_owned(),
        port,
    })
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
    fn each_form_is_parsed() {
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
            // C-core's own parser would split or decode these characters.
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
    fn a_wrong_address_is_refused_with_a_hint() {
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
    fn an_endpoint_is_parsed_as_drivers_parse_it() {
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
    fn the_authority_is_never_a_path() {
        for text in ["/csi/csi.sock", "unix:csi.sock", "unix-abstract:x"] {
            assert_eq!(CsiAddress::parse(text).unwrap().authority(), "localhost");
        }
        let tcp = CsiAddress::parse("tcp://[::1]:10000").unwrap();
        assert_eq!(tcp.authority(), "[::1]:10000");
    }
}
