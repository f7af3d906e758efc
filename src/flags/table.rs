//! The flags of this program, in the order of the help.

use std::path::PathBuf;

use csi::CsiAddress;
use csi::flags::AddressFlags as _;
use front::flags::ListenerFlags as _;
use program::flags::{Flag, LogFlags as _, Section, Table, boolean, unsigned};
use program::{duration, host_port};

use super::Extra;
use super::raw::Raw;
use crate::method::HEALTH_CHECK_PATH;
use crate::routes;

/// All flags.
pub static TABLE: Table<Raw> = Table {
    about: "\
Probe a CSI driver and answer kubelet's GET /healthz with the result.

A probe calls csi.v1.Identity/Probe on the driver's socket. The answer is 200
if the driver is ready, and 500 with the reason otherwise.

Examples:
  # Serve health and metrics on port 9808
  livenessprobe --csi-address=/csi/csi.sock --http-endpoint=:9808

  # Make one probe, for an exec probe
  livenessprobe --csi-address=/csi/csi.sock --once
",
    example: "--csi-address=/csi/csi.sock",
    sections: &[
        Section {
            title: "Driver",
            flags: &[&[CSI_ADDRESS, Raw::ENDPOINT], DRIVER],
        },
        Section {
            title: "HTTP",
            flags: &[&[HEALTH_PORT], Raw::LISTENER_FLAGS],
        },
        Section {
            title: "Other ways to probe",
            flags: &[MODES],
        },
        Section {
            title: "Logs and information",
            flags: &[Raw::LOG_FLAGS],
        },
        Section {
            title: "Accepted for old manifests, without effect (logged at the start if given)",
            flags: &[Raw::OLD_LOG_FLAGS, &[Raw::CONNECTION_TIMEOUT]],
        },
    ],
    notes: "
Paths, all about the driver and none about this process:
  /healthz, /readyz  200 if the driver is ready
  /livez             200 if the driver is ready or still initialising
  Append /NAME for a further driver, /all for all drivers. Append ?verbose for
  the driver's name and address, the time taken and the last success.

Exit codes:
  0  Clean stop, --help, --version or --install; with --once: healthy
  1  Cannot run or cannot go on, for example because a port is in use or
     --http-endpoint excludes another flag; or --retries consecutive failures
  2  Unknown flag or bad value
  3  With --once: cannot connect
  4  With --once: the call failed or timed out
  5  With --once: the driver is not ready
",
};

pub const CSI_ADDRESS: Flag<Raw> = Raw::CSI_ADDRESS.or_variable("CSI_ENDPOINT");

const DRIVER: &[Flag<Raw>] = &[
    Flag::new(
        "--extra-csi-address",
        "NAME=ADDRESS",
        "Address of a further driver, whose health is served on /healthz/NAME. Can be \
         repeated. Cannot be used with --interval, --retries or --health-file.",
        |raw: &mut Raw, given| raw.add(given.convert(extra)?),
    ),
    PROBE_TIMEOUT,
    Flag::new(
        "--timeout",
        "DURATION",
        "Alias of --probe-timeout.",
        |raw: &mut Raw, given| given.put(&mut raw.timeout, duration::parse_positive),
    ),
    PROBE_PATH,
    Flag::new(
        "--service",
        "NAME",
        "Service to ask /grpc.health.v1.Health/Check about, instead of the whole server.",
        |raw: &mut Raw, given| given.put(&mut raw.service, service),
    ),
];

pub const PROBE_TIMEOUT: Flag<Raw> = Flag::new(
    "--probe-timeout",
    "DURATION",
    "Deadline of a probe, including the connection, such as 500ms, 3s or 1m30s. Keep it below the \
     timeoutSeconds of kubelet's probe.",
    |raw: &mut Raw, given| given.put(&mut raw.probe_timeout, duration::parse_positive),
)
.or_default("3s")
.or_variable("LIVENESS_PROBE_TIMEOUT");

pub const PROBE_PATH: Flag<Raw> = Flag::new(
    "--probe-path",
    "PATH",
    "gRPC method to call. /grpc.health.v1.Health/Check is healthy if it answers SERVING, any \
     other method if it answers OK to an empty request.",
    |raw: &mut Raw, given| given.put(&mut raw.probe_path, probe_path),
)
.or_default("/csi.v1.Identity/Probe")
.or_variable("LIVENESS_PROBE_PATH");

const HEALTH_PORT: Flag<Raw> = Flag::new(
    "--health-port",
    "PORT",
    "Serve health, without metrics, on this port of every address. Deprecated upstream in \
     favour of --http-endpoint; cannot be used with it unless the port is 9808.",
    |raw: &mut Raw, given| given.put(&mut raw.health_port, host_port::port),
)
.or_default("9808");

const MODES: &[Flag<Raw>] = &[
    Flag::new(
        "--once",
        "",
        "Make one probe, print ok or the reason, and exit. Intended for exec probes. Serves \
         nothing.",
        |raw: &mut Raw, given| given.put(&mut raw.once, boolean),
    ),
    Flag::new(
        "--install",
        "FILE",
        "Copy this program to FILE, make it executable, and exit. Intended for init \
         containers, because the image has no cp.",
        |raw: &mut Raw, given| given.put(&mut raw.install, file),
    ),
    INTERVAL,
    RETRIES,
    Flag::new(
        "--health-file",
        "FILE",
        "Create FILE on the first success; remove it after --retries consecutive failures and \
         on exit.",
        |raw: &mut Raw, given| given.put(&mut raw.health_file, file),
    ),
];

pub const INTERVAL: Flag<Raw> = Flag::new(
    "--interval",
    "DURATION",
    "Probe periodically, at this interval. HTTP is then served only if --http-endpoint or \
     --health-port is given. --retries and --health-file also enable this; their variables \
     do not.",
    |raw: &mut Raw, given| given.put(&mut raw.interval, duration::parse_positive),
)
.or_default("10s")
.or_variable("LIVENESS_PROBE_INTERVAL");

pub const RETRIES: Flag<Raw> = Flag::new(
    "--retries",
    "N",
    "Exit with 1 after N consecutive failures of the periodic probe.",
    |raw: &mut Raw, given| given.put(&mut raw.retries, retries),
)
.or_default("3")
.or_variable("LIVENESS_PROBE_RETRIES");

pub fn probe_path(text: &str) -> Result<String, String> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let is_path = text
        .strip_prefix('/')
        .and_then(|rest| rest.split_once('/'))
        .is_some_and(|(service, method)| is_name(service) && is_name(method));
    if !is_path {
        return Err(format!(
            "it must be /service/method, such as /csi.v1.Identity/Probe or {HEALTH_CHECK_PATH}"
        ));
    }
    Ok(text.to_owned())
}

/// A service's name. gRPC's own registries hold such names, and no header or log line needs to
/// escape them.
fn service(text: &str) -> Result<String, String> {
    match text.chars().find(|c| !c.is_ascii_graphic()) {
        Some(bad) => Err(format!("{bad:?} cannot be part of a service's name")),
        None => Ok(text.to_owned()),
    }
}

fn extra(text: &str) -> Result<Extra, String> {
    let (name, address) = text
        .split_once('=')
        .ok_or("it must be NAME=ADDRESS, such as nfs=/csi-nfs/csi.sock")?;
    routes::check_name(name)?;
    Ok(Extra {
        name: name.to_owned(),
        address: CsiAddress::parse(address)?,
    })
}

fn file(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("it is empty; name a file".to_owned()),
        text if text.ends_with('/') => Err("it names a directory; name the file in it".to_owned()),
        text => Ok(PathBuf::from(text)),
    }
}

pub fn retries(text: &str) -> Result<u32, String> {
    match unsigned(text) {
        Ok(0) => Err("it must be 1 or more".to_owned()),
        Ok(number) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        Err(_) => Err("it must be a number, 1 or more".to_owned()),
    }
}
