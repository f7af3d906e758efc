//! What SECURITY.md claims about the program and no other suite shows.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use socket2::{Domain, SockAddr, Socket, Type};
use testkit::{Dir, Driver, Sidecar, h2, http, seccomp};

use super::support::livenessprobe;
use super::support::siege::connect;
use super::support::source::{ARCHIVES, BUILT, archive, contains, locked};

/// Parts that are compiled and not linked: the archive that they were compiled into, and
/// names of functions and texts in it that must not be in the program. The binary that ships
/// has no names of functions, but texts.
const LEFT_OUT: &[(&str, &str, &[&str])] = &[
    (
        "c-ares",
        "libcares.a",
        &["ares_init_options", "Could not contact DNS servers"],
    ),
    (
        "C-core's resolvers",
        "libgrpc_unsecure.a",
        &[
            "grpc_dns_lookup_ares",
            "C-ares status is not ARES_SUCCESS",
            "address_sorting_rfc_6724_sort",
        ],
    ),
    (
        "C-core's server",
        "libgrpc_unsecure.a",
        &["grpc_server_create(", "Chttp2ServerListener"],
    ),
    (
        "C-core's load balancers",
        "libgrpc_unsecure.a",
        &[
            "_grpclb._tcp",
            "rls_experimental",
            "weighted_target",
            "outlier_detection",
            "round_robin",
            "pick_first",
        ],
    ),
    (
        "RE2",
        "libre2.a",
        &["no argument for repetition operator", "DFA out of memory"],
    ),
    (
        "address_sorting",
        "libaddress_sorting.a",
        &["address_sorting_init"],
    ),
    (
        "combining CRCs",
        "libz.a",
        &["crc32_combine64", "crc32_combine_gen64"],
    ),
];

/// Parts that are not even compiled, except for musl's iconv, which only zig's archive has.
const NEVER_COMPILED: &[(&str, &[&str])] = &[
    ("TLS", &["SSL_CTX_new", "SSL_do_handshake"]),
    ("xDS", &["XdsClient", "envoy.service."]),
    ("MiniZip", &["unzOpenCurrentFile", "zipOpenNewFileInZip"]),
    ("untgz", &["TGZfname"]),
    ("musl's iconv", &["euckr", "gb18030"]),
];

#[test]
fn parts_that_are_left_out_are_not_in_the_program() {
    for program in BTreeSet::from([BUILT, livenessprobe().binary()]) {
        let bytes = std::fs::read(program).unwrap();
        // A text that is in the program is found: the name of the call that takes a socket.
        assert!(
            contains(&bytes, "grpc_channel_create_from_fd("),
            "{program}"
        );
        for (part, archive_name, marks) in LEFT_OUT {
            for mark in *marks {
                assert!(contains(archive(archive_name), mark), "{part}: {mark}");
                assert!(!contains(&bytes, mark), "{part}: {mark} is in {program}");
            }
        }
        for (part, marks) in NEVER_COMPILED {
            for mark in *marks {
                assert!(!contains(&bytes, mark), "{part}: {mark} is in {program}");
                for name in ARCHIVES {
                    assert!(
                        !contains(archive(name), mark),
                        "{part}: {mark} is in {name}"
                    );
                }
            }
        }
    }
    for name in ["boringssl-src", "openssl-sys", "openssl-src", "ring"] {
        assert!(locked(name).is_empty(), "{name}");
    }
}

/// The requests are those of the reports of CVE-2026-66752 and RUSTSEC-2020-0031.
#[test]
fn a_body_whose_end_is_ambiguous_is_refused() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let smuggled = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    for (head, status) in [
        ("Transfer-Encoding: identity\r\nContent-Length: 5", 413),
        ("Transfer-Encoding: chunked, identity", 413),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", 413),
        ("Transfer-Encoding: xchunked", 413),
        (
            "Transfer-Encoding:\tchunked\r\nTransfer-Encoding: chunked",
            413,
        ),
        ("transfer-encoding: \x0bchunked", 400),
        ("Transfer-Encoding : chunked\r\nContent-Length: 5", 400),
        ("X: y\r\n Transfer-Encoding: chunked", 400),
        ("Content-Length: 5\r\nContent-Length: 0", 400),
        ("Content-Length: +5", 400),
    ] {
        let request = format!("POST /healthz HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n0\r\n\r\n");
        let mut stream = connect(sidecar.address);
        stream.write_all((request + smuggled).as_bytes()).unwrap();
        // The response ends with the connection.
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{head:?}: {response}"
        );
        // There is only one response, so the rest was not read as a request.
        assert_eq!(
            response.matches("\r\n\r\n").count(),
            1,
            "{head:?}: {response}"
        );
    }
    // None of them began a probe.
    assert_eq!(sidecar.healthz().status, 200);
    driver.has_had_probes(1);
}

/// CVE-2026-66753: CR and LF from a client or a driver.
#[test]
fn no_client_and_no_driver_adds_a_header_to_a_response() {
    let names = |response: &http::Response| {
        let lines = response.head.lines().skip(1);
        let names = lines.map(|line| line.split(':').next().unwrap().to_lowercase());
        names.collect::<BTreeSet<String>>()
    };
    let usual = [
        "connection",
        "content-length",
        "content-type",
        "date",
        "server",
    ];
    let usual: BTreeSet<String> = usual.map(str::to_owned).into();
    let dir = Dir::new();
    let evil = "x\r\nSet-Cookie: a=b\r\n\r\nHTTP/1.1 200 OK\r\n";
    let _driver = Driver::start(&dir.socket(), &["--error=9", &format!("--message={evil}")]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    for path in ["/healthz", "/healthz?verbose", "/metrics"] {
        let response = sidecar.get(path);
        assert_eq!(names(&response), usual, "{response:?}");
        assert!(!response.body.contains('\r'), "{response:?}");
    }
    let request = "GET /healthz?verbose HTTP/1.1\r\nHost: x\rSet-Cookie: a=b\r\n\r\n";
    let response = http::send(sidecar.address, request);
    assert_eq!(response.status, 400);
    assert!(!names(&response).contains("set-cookie"), "{response:?}");
    let request = "GET /healthz%0d%0aSet-Cookie:a=b HTTP/1.1\r\nHost: x\r\n\r\n";
    let response = http::send(sidecar.address, request);
    assert_eq!(response.status, 404);
    assert!(!names(&response).contains("set-cookie"), "{response:?}");
}

/// RUSTSEC-2024-0437: each of these bytes begins a group inside the group before it.
#[test]
fn groups_without_end_in_a_reply_do_no_harm() {
    let dir = Dir::new();
    h2::serve(dir.socket().as_ref(), |mut call| {
        let reply = match call.number {
            // As long as a message may be.
            0 => h2::ok(call.stream, &[0x0b; 16 * 1024]),
            _ => h2::ok(call.stream, h2::READY),
        };
        call.send(&reply);
    });
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let response = sidecar.healthz();
    assert_eq!(response.status, 500);
    assert!(response.body.contains("cannot be decoded"), "{response:?}");
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
}

#[test]
fn no_other_process_can_connect_to_the_private_streams() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    assert_eq!(sidecar.healthz().status, 200);
    let begin = format!("@csi-livenessprobe-{}-", sidecar.pid);
    let table = std::fs::read_to_string("/proc/net/unix").unwrap();
    let names: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.split(' ').next_back())
        .filter(|name| name.starts_with(&begin))
        .collect();
    assert_eq!(names.len(), 1, "{table}");
    for name in names {
        let address = SockAddr::unix(name.replacen('@', "\0", 1)).unwrap();
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let error = socket.connect(&address).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

/// Returns the addresses at which a process listens, by `net/tcp` of proc(5).
fn listeners(pid: i32) -> Vec<SocketAddr> {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let own: BTreeSet<String> = descriptors
        .filter_map(|descriptor| std::fs::read_link(descriptor.unwrap().path()).ok())
        .filter_map(|target| {
            let target = target.to_string_lossy();
            let number = target.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(number.to_owned())
        })
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[3] == "0A" && own.contains(fields[9]))
        .map(|fields| {
            let (host, port) = fields[1].split_once(':').unwrap();
            // The kernel writes it in the byte order of the processor.
            let host = u32::from_str_radix(host, 16).unwrap().to_ne_bytes();
            (host, u16::from_str_radix(port, 16).unwrap()).into()
        })
        .collect()
}

#[test]
fn without_unix_sockets_there_is_nothing_private_to_connect_to() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let mut command = livenessprobe().serving(&dir.socket());
    seccomp::refuse(&mut command, &[seccomp::BINDS_UNIX], libc::EACCES);
    let sidecar = Sidecar::run(&mut command);
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
    assert_eq!(listeners(sidecar.pid), [sidecar.address]);
}
