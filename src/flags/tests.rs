//! Command lines, good and bad, each with its outcome.

use program::flags::LogFlags as _;

use super::*;

/// The expected outcome of a command line.
enum Want {
    /// It serves with these options and without a warning.
    Serves(fn(&Options) -> bool),
    /// It serves with these options, and a warning contains these words.
    Warns(fn(&Options) -> bool, &'static [&'static str]),
    /// It makes one probe with these options and without a warning.
    Once(fn(&Options) -> bool),
    /// It makes one probe with these options, and a warning contains these words.
    WarnsOnce(fn(&Options) -> bool, &'static [&'static str]),
    /// It copies itself to this file.
    Installs(&'static str),
    Help,
    Version,
    /// Exit code 2, and a message with these words.
    Bad(&'static [&'static str]),
    /// Exit code 1, and this very message.
    Conflict(&'static str),
}

use Want::{Bad, Conflict, Help, Installs, Once, Serves, Version, Warns, WarnsOnce};

const PORT_CONFLICT: &str =
    "Only one of `--health-port` and `--http-endpoint` can be explicitly set";
const METRICS_CONFLICT: &str =
    "Only one of `--metrics-address` and `--http-endpoint` can be explicitly set";

fn path(options: &Options, path: &str) -> bool {
    options.csi_address == CsiAddress::Path(path.into())
}

fn listen(host: &str, port: u16) -> ListenAddress {
    ListenAddress {
        host: host.to_owned(),
        port,
    }
}

#[allow(clippy::unnecessary_wraps, reason = "compared with what may be none")]
fn at(host: &str, port: u16) -> Option<ListenAddress> {
    Some(listen(host, port))
}

fn periodic(options: &Options, seconds: u64, retries: u32, file: Option<&str>) -> bool {
    options.periodic
        == Some(Periodic {
            interval: Duration::from_secs(seconds),
            retries,
            health_file: file.map(PathBuf::from),
        })
}

fn health_of(options: &Options, service: &str) -> bool {
    options.method
        == Method::Health {
            service: service.to_owned(),
        }
}

fn ms(options: &Options, milliseconds: u64) -> bool {
    options.probe_timeout == Duration::from_millis(milliseconds)
}

/// Words are split at spaces; `{}` is an empty word, and one that begins with a
/// dollar sets a variable.
#[rustfmt::skip]
const COMMAND_LINES: &[(&str, Want)] = &[
    // Defaults, and Go's syntax.
    ("", Serves(|o| path(o, "/run/csi/socket") && ms(o, 3000) && o.health == at("", 9808)
        && o.metrics == MetricsAt::Nowhere && o.metrics_path == "/metrics" && o.verbosity == 0
        && o.format == Format::Text && o.without_effect.is_empty())),
    ("--csi-address=/csi/csi.sock", Serves(|o| path(o, "/csi/csi.sock"))),
    ("-csi-address=/csi/csi.sock", Serves(|o| path(o, "/csi/csi.sock"))),
    ("--csi-address /csi/csi.sock", Serves(|o| path(o, "/csi/csi.sock"))),
    ("-csi-address /csi/csi.sock", Serves(|o| path(o, "/csi/csi.sock"))),
    ("--csi-address=/a --csi-address=/b", Serves(|o| path(o, "/b"))),
    ("--csi-address=/a -csi-address /b", Serves(|o| path(o, "/b"))),
    ("--csi-address=/a=b", Serves(|o| path(o, "/a=b"))),
    ("--csi-address=/a --", Serves(|o| path(o, "/a"))),
    ("--csi-address=\"/a\"", Bad(&["--csi-address", "unix:"])),
    ("---csi-address=/a", Bad(&["bad flag syntax", "---csi-address"])),
    ("--=x", Bad(&["bad flag syntax"])),
    ("-=x", Bad(&["bad flag syntax"])),
    ("-", Bad(&["unexpected argument \"-\""])),
    // Charts render empty arguments from an empty list. They are accepted at the end only.
    ("{}", Warns(|o| path(o, "/run/csi/socket"), &["Empty arguments at the end", "(1 of them)"])),
    ("--csi-address=/a {} {}", Warns(|o| path(o, "/a"), &["(2 of them)"])),
    ("--csi-address=/a -- {}", Warns(|o| path(o, "/a"), &["(1 of them)"])),
    ("--once {}", WarnsOnce(|_| true, &["Empty arguments"])),
    ("--install=/shared/livenessprobe {}", Installs("/shared/livenessprobe")),
    ("{} --csi-address=/a", Bad(&["unexpected argument \"\""])),
    ("--csi-address=/a {} --v=5 {}", Bad(&["unexpected argument \"\""])),
    ("{} --", Bad(&["unexpected argument \"\""])),
    ("-- {} x", Bad(&["unexpected argument \"\""])),
    ("--bogus {}", Bad(&["unknown flag --bogus"])),
    ("serve", Bad(&["unexpected argument \"serve\"", "--csi-address=/csi/csi.sock"])),
    ("-- --csi-address=/a", Bad(&["unexpected argument \"--csi-address=/a\""])),
    ("--csi-address=/a rest", Bad(&["unexpected argument \"rest\""])),
    ("--bogus", Bad(&["unknown flag --bogus"])),
    ("-bogus=1", Bad(&["unknown flag --bogus"])),
    ("--CSI-ADDRESS=/a", Bad(&["unknown flag --CSI-ADDRESS"])),
    ("--csi_address=/a", Bad(&["unknown flag --csi_address"])),
    ("--csi-address", Bad(&["--csi-address needs a value", "--csi-address=ADDRESS"])),
    // A flag that takes a value always takes it.
    ("--csi-address --v=5", Bad(&["invalid value \"--v=5\" for --csi-address"])),
    ("--csi-address --", Bad(&["invalid value \"--\" for --csi-address"])),
    // Addresses.
    ("--csi-address=unix:///csi/csi.sock", Serves(|o| path(o, "/csi/csi.sock"))),
    ("--csi-address=unix:csi.sock", Serves(|o| path(o, "csi.sock"))),
    ("--csi-address=unix-abstract:x", Serves(|o| o.csi_address == CsiAddress::Abstract("x".into()))),
    ("--csi-address=tcp://127.0.0.1:1", Serves(|o| o.csi_address.to_string() == "127.0.0.1:1")),
    ("--csi-address=", Bad(&["invalid value \"\" for --csi-address", "empty"])),
    ("--csi-address {}", Bad(&["invalid value \"\" for --csi-address", "empty"])),
    ("--csi-address=unix://csi/csi.sock", Bad(&["unix:///csi/csi.sock"])),
    ("--csi-address=csi.sock", Bad(&["csi.sock", "no port"])),
    ("--csi-address=ftp://x", Bad(&["unknown scheme \"ftp\""])),
    ("--csi-address=bad --csi-address=/good", Bad(&["invalid value \"bad\""])),
    // Durations.
    ("--probe-timeout=1s", Serves(|o| ms(o, 1000))),
    ("--probe-timeout 1.5s", Serves(|o| ms(o, 1500))),
    ("--probe-timeout=1m30s", Serves(|o| ms(o, 90_000))),
    ("--probe-timeout=+2s", Serves(|o| ms(o, 2000))),
    ("--probe-timeout=250000us", Serves(|o| ms(o, 250))),
    ("--probe-timeout=3", Bad(&["invalid value \"3\" for --probe-timeout", "no unit", "3s"])),
    ("--probe-timeout=0", Bad(&["longer than zero"])),
    ("--probe-timeout=0s", Bad(&["longer than zero"])),
    ("--probe-timeout -1s", Bad(&["invalid value \"-1s\"", "longer than zero"])),
    ("--probe-timeout=", Bad(&["invalid value \"\" for --probe-timeout"])),
    ("--probe-timeout=1d", Bad(&["unknown unit \"d\""])),
    ("--probe-timeout=3sec", Bad(&["unknown unit \"sec\""])),
    // Where it listens.
    ("--health-port=9909", Serves(|o| o.health == at("", 9909))),
    ("--health-port 0", Serves(|o| o.health == at("", 0))),
    ("--health-port=http", Bad(&["invalid value \"http\" for --health-port", "65535"])),
    ("--health-port=65536", Bad(&["65535"])),
    ("--health-port=-1", Bad(&["65535"])),
    ("--health-port=:9808", Bad(&["\":9808\" is no port"])),
    ("--health-port=", Bad(&["--health-port"])),
    ("--http-endpoint=:9808", Serves(|o| o.health == at("", 9808) && o.metrics == MetricsAt::WithHealth)),
    ("--http-endpoint=127.0.0.1:9909", Serves(|o| o.health == at("127.0.0.1", 9909))),
    ("--http-endpoint=[::1]:9909", Serves(|o| o.health == at("::1", 9909))),
    ("--http-endpoint=", Serves(|o| o.health == at("", 9808) && o.metrics == MetricsAt::Nowhere)),
    ("--http-endpoint=localhost", Bad(&["no port", "127.0.0.1:9808"])),
    ("--http-endpoint=::1:9808", Bad(&["brackets", "write [::1]:9808", "[$(POD_IP)]:9808"])),
    ("--metrics-address=fd00::7:8080", Bad(&["write [fd00::7]:8080"])),
    // References that Kubernetes did not replace, or replaced by nothing.
    ("--http-endpoint=$(POD_IP):9808", Bad(&["'$'", "Kubernetes leaves $(POD_IP) alone when POD_IP is not defined", "same container's env"])),
    ("--http-endpoint=[$(POD_IP)]:9808", Bad(&["leaves $(POD_IP) alone"])),
    ("--health-port=$(PORT)", Bad(&["leaves $(PORT) alone"])),
    ("--probe-timeout=$(TIMEOUT)", Bad(&["leaves $(TIMEOUT) alone"])),
    ("--csi-address=$(ADDRESS)", Bad(&["leaves $(ADDRESS) alone"])),
    ("--csi-address=/csi/$(DRIVER)/csi.sock", Warns(|o| path(o, "/csi/$(DRIVER)/csi.sock"),
        &["--csi-address=/csi/$(DRIVER)/csi.sock is used as it stands", "leaves $(DRIVER) alone"])),
    ("--$(FLAG)=1", Bad(&["unknown flag --$(FLAG)", "leaves $(FLAG) alone"])),
    ("$POD_IP= --http-endpoint=:9808", Warns(|o| o.health == at("", 9808),
        &["Serving on every address", "--http-endpoint=:9808 has no host", "POD_IP is set and empty"])),
    ("$HOST_IP= --metrics-address=:8080", Warns(|_| true, &["--metrics-address=:8080", "HOST_IP"])),
    ("$POD_IP=10.0.0.1 --http-endpoint=:9808", Serves(|_| true)),
    ("$POD_IP= --http-endpoint=127.0.0.1:9808", Serves(|_| true)),
    ("$POD_IP= --health-port=9808", Serves(|_| true)),
    ("$POD_IP=", Serves(|_| true)),
    ("$NODE_NAME= --http-endpoint=:9808", Serves(|_| true)),
    ("--http-endpoint=:9808 --health-port=9808", Serves(|o| o.health == at("", 9808))),
    ("--http-endpoint=:9909 --health-port=9808", Serves(|o| o.health == at("", 9909))),
    ("--http-endpoint=:9909 --health-port=09808", Serves(|o| o.health == at("", 9909))),
    ("--http-endpoint=:9808 --health-port=9909", Conflict(PORT_CONFLICT)),
    ("--health-port=9909 --http-endpoint=:9808", Conflict(PORT_CONFLICT)),
    ("--http-endpoint= --health-port=9909", Serves(|o| o.health == at("", 9909))),
    ("--metrics-address=:8080", Serves(|o| o.health == at("", 9808)
        && o.metrics == MetricsAt::Alone(listen("", 8080)))),
    ("--metrics-address=:8080 --health-port=9909", Serves(|o| o.health == at("", 9909))),
    ("--metrics-address=:8080 --http-endpoint=:9808", Conflict(METRICS_CONFLICT)),
    ("--metrics-address=8080", Bad(&["invalid value \"8080\" for --metrics-address"])),
    ("--metrics-path=/m", Serves(|o| o.metrics_path == "/m")),
    ("--metrics-path=metrics", Bad(&["must begin with /"])),
    ("--metrics-path=", Bad(&["must begin with /"])),
    ("--metrics-path=/healthz", Bad(&["health path"])),
    ("--metrics-path=/livez", Bad(&["health path"])),
    ("--metrics-path=/readyz", Bad(&["health path"])),
    ("--metrics-path=/m?x", Bad(&["'?'"])),
    // The other names, and variables, each weaker than its flag.
    ("--endpoint=unix:///csi/csi.sock --interval=15s --timeout=5s", Serves(|o|
        path(o, "/csi/csi.sock") && ms(o, 5000) && periodic(o, 15, 3, None) && o.health.is_none())),
    ("--endpoint=/a --endpoint=/b", Serves(|o| path(o, "/b"))),
    ("--endpoint=unix:///a --csi-address=/a", Serves(|o| path(o, "/a"))),
    ("--endpoint=/a --csi-address=/b", Bad(&["--csi-address=/b", "--endpoint=/a", "leave out one"])),
    ("--timeout=1000ms --probe-timeout=1s", Serves(|o| ms(o, 1000))),
    ("--timeout=1s --probe-timeout=2s", Bad(&["--probe-timeout=2s", "--timeout=1s"])),
    ("--timeout=0", Bad(&["invalid value \"0\" for --timeout", "longer than zero"])),
    ("--endpoint=x", Bad(&["invalid value \"x\" for --endpoint"])),
    ("$CSI_ENDPOINT=unix:///e/csi.sock", Serves(|o| path(o, "/e/csi.sock") && o.periodic.is_none())),
    ("$CSI_ENDPOINT=/e --csi-address=/f", Serves(|o| path(o, "/f"))),
    ("$CSI_ENDPOINT=/e --endpoint=/f", Serves(|o| path(o, "/f"))),
    ("$CSI_ENDPOINT=", Serves(|o| path(o, "/run/csi/socket"))),
    ("$CSI_ENDPOINT=unix://csi/csi.sock", Serves(|o| path(o, "/csi/csi.sock"))),
    ("$CSI_ENDPOINT=unix://csi/csi.sock --once", Once(|o| path(o, "/csi/csi.sock"))),
    ("$CSI_ENDPOINT=e", Warns(|o| path(o, "/run/csi/socket") && o.health == at("", 9808),
        &["Environment variable not understood", "invalid value \"e\" for CSI_ENDPOINT", "unix:///path",
            "the default, /run/csi/socket, is used"])),
    ("$CSI_ENDPOINT=/$(A)/b", Warns(|o| path(o, "/$(A)/b"), &["CSI_ENDPOINT=/$(A)/b is used", "leaves $(A) alone"])),
    ("$CSI_ENDPOINT=$(ENDPOINT)", Warns(|o| path(o, "/run/csi/socket"), &["leaves $(ENDPOINT) alone"])),
    ("$CSI_ENDPOINT=e --once", WarnsOnce(|o| path(o, "/run/csi/socket"), &["CSI_ENDPOINT"])),
    ("$CSI_ENDPOINT=e --csi-address=/f", Serves(|o| path(o, "/f"))),
    ("$CSI_ENDPOINT=e --help", Help),
    ("$LIVENESS_PROBE_TIMEOUT=2s", Serves(|o| ms(o, 2000))),
    ("$LIVENESS_PROBE_TIMEOUT=2s --probe-timeout=1s", Serves(|o| ms(o, 1000))),
    ("$LIVENESS_PROBE_TIMEOUT=2 --timeout=1s", Serves(|o| ms(o, 1000))),
    ("$LIVENESS_PROBE_TIMEOUT=2", Warns(|o| ms(o, 3000),
        &["invalid value \"2\" for LIVENESS_PROBE_TIMEOUT", "no unit", "the default, 3s, is used"])),
    ("$LIVENESS_PROBE_TIMEOUT=0 --once", WarnsOnce(|o| ms(o, 3000), &["longer than zero"])),
    // The method.
    ("--probe-path=/csi.v1.Identity/Probe", Serves(|o| o.method == Method::Identity)),
    ("--probe-path=/grpc.health.v1.Health/Check", Serves(|o| health_of(o, ""))),
    ("--probe-path=/grpc.health.v1.Health/Check --service=csi", Serves(|o| health_of(o, "csi"))),
    ("--probe-path=/x.Y/Z", Serves(|o| o.method == Method::Other { path: "/x.Y/Z".to_owned() })),
    ("--service=csi", Bad(&["--service=csi needs --probe-path=/grpc.health.v1.Health/Check"])),
    ("--probe-path=/x.Y/Z --service=csi", Bad(&["--service=csi needs"])),
    ("--probe-path=/grpc.health.v1.Health/Check --service=\u{e9}", Bad(&["cannot be part of a service's name"])),
    ("--probe-path=Probe", Bad(&["/service/method"])),
    ("--probe-path=/a/b/c", Bad(&["/service/method"])),
    ("--probe-path=//b", Bad(&["/service/method"])),
    ("--probe-path=", Bad(&["/service/method"])),
    ("$LIVENESS_PROBE_PATH=/x.Y/Z", Serves(|o| o.method.path() == "/x.Y/Z")),
    ("$LIVENESS_PROBE_PATH=x --probe-path=/x.Y/Z", Serves(|o| o.method.path() == "/x.Y/Z")),
    ("$LIVENESS_PROBE_PATH=x", Warns(|o| o.method == Method::Identity,
        &["LIVENESS_PROBE_PATH", "/service/method", "the default, /csi.v1.Identity/Probe, is used"])),
    ("$LIVENESS_PROBE_PATH=x --service=y", Warns(|o| health_of(o, "y"),
        &["invalid value \"x\" for LIVENESS_PROBE_PATH", "/grpc.health.v1.Health/Check is called, because --service is given"])),
    ("$LIVENESS_PROBE_PATH=/x.Y/Z --service=y", Warns(|o| health_of(o, "y"),
        &["invalid value \"/x.Y/Z\" for LIVENESS_PROBE_PATH", "/grpc.health.v1.Health/Check"])),
    ("$LIVENESS_PROBE_PATH= --service=y", Bad(&["--service=y needs"])),
    ("$LIVENESS_PROBE_PATH=/grpc.health.v1.Health/Check --service=x", Serves(|o| health_of(o, "x"))),
    // The periodic probe.
    ("--interval=1s", Serves(|o| periodic(o, 1, 3, None) && o.health.is_none() && o.metrics == MetricsAt::Nowhere)),
    ("--retries=5", Serves(|o| periodic(o, 10, 5, None))),
    ("--health-file=/run/healthy", Serves(|o| periodic(o, 10, 3, Some("/run/healthy")))),
    // A variable never turns HTTP off.
    ("$LIVENESS_PROBE_INTERVAL=7s", Warns(|o| o.periodic.is_none() && o.health == at("", 9808),
        &["without effect", "LIVENESS_PROBE_INTERVAL=7s changes nothing", "--interval", "--retries", "--health-file"])),
    ("$LIVENESS_PROBE_RETRIES=7 --health-port=1", Warns(|o| o.periodic.is_none() && o.health == at("", 1),
        &["LIVENESS_PROBE_RETRIES=7 changes nothing"])),
    ("$LIVENESS_PROBE_INTERVAL=often $LIVENESS_PROBE_RETRIES=0", Warns(|o| o.periodic.is_none(),
        &["LIVENESS_PROBE_INTERVAL=often", "LIVENESS_PROBE_RETRIES=0"])),
    ("$LIVENESS_PROBE_INTERVAL=7s --retries=2", Serves(|o| periodic(o, 7, 2, None))),
    ("$LIVENESS_PROBE_RETRIES=7 --interval=1s", Serves(|o| periodic(o, 1, 7, None))),
    ("$LIVENESS_PROBE_INTERVAL=7s $LIVENESS_PROBE_RETRIES=7 --health-file=/x",
        Serves(|o| periodic(o, 7, 7, Some("/x")))),
    ("$LIVENESS_PROBE_RETRIES=7 --retries=2 $LIVENESS_PROBE_INTERVAL=often --interval=2s",
        Serves(|o| periodic(o, 2, 2, None))),
    ("--interval=1s --health-port=9808", Serves(|o| o.health == at("", 9808))),
    ("--interval=1s --http-endpoint=:1", Serves(|o| o.health == at("", 1) && o.metrics == MetricsAt::WithHealth)),
    ("--interval=1s --metrics-address=:1", Serves(|o| o.health.is_none()
        && o.metrics == MetricsAt::Alone(listen("", 1)))),
    ("--interval=0", Bad(&["invalid value \"0\" for --interval", "longer than zero"])),
    ("--interval=often", Bad(&["--interval"])),
    ("$LIVENESS_PROBE_INTERVAL=10 --retries=3", Warns(|o| periodic(o, 10, 3, None),
        &["invalid value \"10\" for LIVENESS_PROBE_INTERVAL", "no unit", "the default, 10s, is used"])),
    ("--retries=0", Bad(&["invalid value \"0\" for --retries", "1 or more"])),
    ("--retries=-1", Bad(&["1 or more"])),
    ("$LIVENESS_PROBE_RETRIES=0 --interval=1s", Warns(|o| periodic(o, 1, 3, None),
        &["invalid value \"0\" for LIVENESS_PROBE_RETRIES", "1 or more", "the default, 3, is used"])),
    ("$LIVENESS_PROBE_RETRIES=many --interval=1s", Warns(|o| periodic(o, 1, 3, None), &["1 or more"])),
    ("--health-file=", Bad(&["--health-file", "empty"])),
    ("--health-file=/run/", Bad(&["names a directory"])),
    // One probe.
    ("--once", Once(|o| path(o, "/run/csi/socket") && ms(o, 3000))),
    ("--once --csi-address=/a --timeout=1s", Once(|o| path(o, "/a") && ms(o, 1000))),
    ("--once --probe-path=/grpc.health.v1.Health/Check --service=a", Once(|o| health_of(o, "a"))),
    // The variables of the driver's container are meant for the driver.
    ("--once $LIVENESS_PROBE_INTERVAL=often $LIVENESS_PROBE_RETRIES=0 $CSI_ENDPOINT=/e",
        Once(|o| path(o, "/e") && o.periodic.is_none())),
    ("--once=false", Serves(|_| true)),
    ("--once=maybe", Bad(&["--once"])),
    ("--once --interval=1s", Bad(&["--once", "leave out --interval"])),
    ("--once --retries=1", Bad(&["leave out --retries"])),
    ("--once --health-file=/x", Bad(&["leave out --health-file"])),
    ("--once --http-endpoint=:1", Bad(&["leave out --http-endpoint"])),
    ("--once --health-port=9808", Bad(&["leave out --health-port"])),
    ("--once --metrics-address=:1", Bad(&["leave out --metrics-address"])),
    ("--once --extra-csi-address=a=/a", Bad(&["leave out --extra-csi-address"])),
    ("--install=/shared/livenessprobe", Installs("/shared/livenessprobe")),
    ("--install /shared/livenessprobe --v=5", Installs("/shared/livenessprobe")),
    ("--install=", Bad(&["--install", "empty"])),
    ("--install=/shared/", Bad(&["--install", "names a directory"])),
    ("--install=/x --bogus", Bad(&["unknown flag --bogus"])),
    // Further drivers.
    ("--extra-csi-address=nfs=/nfs/csi.sock --extra-csi-address smb=unix:///smb/csi.sock", Serves(|o|
        o.extra.iter().map(|extra| format!("{}={}", extra.name, extra.address)).collect::<Vec<_>>()
            == ["nfs=/nfs/csi.sock", "smb=/smb/csi.sock"])),
    ("--extra-csi-address=nfs", Bad(&["NAME=ADDRESS"])),
    ("--extra-csi-address=nfs=", Bad(&["empty"])),
    ("--extra-csi-address==/a", Bad(&["the name \"\""])),
    ("--extra-csi-address=all=/a", Bad(&["\"all\" stands for all drivers"])),
    ("--extra-csi-address=a/b=/a", Bad(&["\"a/b\"", "letters"])),
    ("--extra-csi-address=a=/a --extra-csi-address=a=/b", Bad(&["the name \"a\" twice"])),
    ("--extra-csi-address=a=/a --interval=1s", Bad(&["--extra-csi-address", "--interval"])),
    ("--extra-csi-address=a=/a $LIVENESS_PROBE_INTERVAL=1s $LIVENESS_PROBE_RETRIES=1", Warns(
        |o| o.extra.len() == 1 && o.periodic.is_none() && o.health == at("", 9808),
        &["LIVENESS_PROBE_INTERVAL=1s", "LIVENESS_PROBE_RETRIES=1", "--extra-csi-address"])),
    ("--metrics-path=/healthz/all", Serves(|o| o.metrics_path == "/healthz/all")),
    ("--metrics-path=/healthz/all --extra-csi-address=a=/a", Bad(&["--metrics-path=/healthz/all", "another driver"])),
    ("--install=/x --once", Bad(&["--install", "leave out --once"])),
    ("--install=/x --http-endpoint=:1", Bad(&["--install", "leave out --http-endpoint"])),
    // The groups of other crates are in the table.
    ("-v=7 --logging-format=json", Serves(|o| o.verbosity == 7 && o.format == Format::Json)),
    ("--automaxprocs --vmodule=main=3", Serves(|o| o.without_effect == ["--automaxprocs", "--vmodule"])),
    ("--vmodule=main", Bad(&["--vmodule", "main=3"])),
    ("--connection-timeout=15s", Serves(|o| ms(o, 3000) && o.without_effect == ["--connection-timeout"])),
    ("--connection-timeout=15", Bad(&["invalid value \"15\" for --connection-timeout"])),
    ("-h --bogus", Help),
    ("--bogus --help", Bad(&["unknown flag --bogus"])),
    ("--version --http-endpoint=:1 --health-port=1", Version),
    ("--version=false", Serves(|_| true)),
];

#[test]
fn each_command_line_has_its_outcome() {
    for (line, want) in COMMAND_LINES {
        let (variables, words): (Vec<_>, Vec<_>) = line
            .split_whitespace()
            .map(|word| if word == "{}" { "" } else { word })
            .partition(|word| word.starts_with('$'));
        let environment: Vec<(OsString, OsString)> = variables
            .iter()
            .filter_map(|word| word[1..].split_once('='))
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let outcome = parse(words.into_iter().map(OsString::from), &environment);
        match (outcome, want) {
            (Ok(Command::Once(options)), Once(holds))
            | (Ok(Command::Serve(options)), Serves(holds)) => {
                assert!(holds(&options), "{line}: {options:?}");
                assert_eq!(options.warnings, [], "{line}");
            }
            (Ok(Command::Once(options)), WarnsOnce(holds, words))
            | (Ok(Command::Serve(options)), Warns(holds, words)) => {
                assert!(holds(&options), "{line}: {options:?}");
                let warnings = format!("{:?}", options.warnings).replace("\\\"", "\"");
                for word in *words {
                    assert!(warnings.contains(word), "{line}: {word}: {warnings}");
                }
            }
            (Ok(Command::Install { to, .. }), Installs(path)) => {
                assert_eq!(to.to_str(), Some(*path), "{line}");
            }
            (Ok(Command::Help), Help) | (Ok(Command::Version), Version) => {}
            (Err(error), Bad(words)) => {
                assert_eq!(error.exit, Exit::BAD_FLAGS, "{line}");
                for word in *words {
                    assert!(
                        error.message.contains(word),
                        "{line}: {word}: {}",
                        error.message
                    );
                }
            }
            (Err(error), Conflict(message)) => {
                assert_eq!(
                    (error.exit, error.message.as_str()),
                    (Exit::CANNOT_RUN, *message),
                    "{line}"
                );
            }
            (other, _) => panic!("{line}: {other:?}"),
        }
    }
    assert!(COMMAND_LINES.len() >= 80, "{}", COMMAND_LINES.len());
}

/// The tests of the crate program have command lines with the flags of its own groups.
#[test]
fn every_flag_is_in_the_table_of_command_lines() {
    let elsewhere: Vec<&str> = [Raw::LOG_FLAGS, Raw::OLD_LOG_FLAGS]
        .into_iter()
        .flatten()
        .map(|flag| flag.name)
        .collect();
    let own = TABLE.flags().map(|flag| flag.name);
    let own: Vec<&str> = own.filter(|name| !elsewhere.contains(name)).collect();
    assert_eq!(own.len(), 17, "{own:?}");
    for name in own {
        let name = name.trim_start_matches('-');
        let is_there = |line: &str| line.contains(name);
        assert!(
            COMMAND_LINES.iter().any(|(line, _)| is_there(line)),
            "{name}"
        );
    }
}

#[test]
fn an_error_has_the_log_form_that_was_chosen_before_it() {
    let error = |words: &[&str]| parse(words.iter().map(OsString::from), &[]).unwrap_err();
    assert_eq!(
        error(&["--logging-format=json", "--bogus"]).format,
        Format::Json
    );
    assert_eq!(error(&["--bogus"]).format, Format::Text);
}

#[test]
fn arguments_that_are_not_utf_8_are_refused_and_shown() {
    use std::os::unix::ffi::OsStringExt as _;
    for (word, shown) in [
        (&b"--csi-address=/\xff"[..], "not UTF-8"),
        (b"--\xff", "unknown flag"),
        (b"\xff", "unexpected argument"),
    ] {
        let error = parse([OsString::from_vec(word.to_vec())], &[]).unwrap_err();
        assert!(error.message.contains(shown), "{}", error.message);
    }
}

#[test]
fn a_single_probe_is_recognised_even_if_the_line_fails_before_it() {
    let is_once = |line: &str| {
        parse(line.split_whitespace().map(OsString::from), &[])
            .unwrap_err()
            .is_once
    };
    assert!(is_once("--once --bogus"));
    assert!(is_once("--bogus -once"));
    assert!(is_once("--bogus --once=true"));
    assert!(!is_once("--bogus"));
    assert!(!is_once("--bogus --csi-address=/once"));
    assert!(!is_once("--bogus --log_dir once"));
    assert!(!is_once("--bogus --once=false"));
}

#[test]
fn a_variable_that_is_not_utf_8_is_a_warning() {
    use std::os::unix::ffi::OsStringExt as _;
    let environment = [(
        OsString::from("CSI_ENDPOINT"),
        OsString::from_vec(b"/\xff".to_vec()),
    )];
    let Ok(Command::Serve(options)) = parse([], &environment) else {
        panic!("it does not serve");
    };
    assert!(path(&options, "/run/csi/socket"));
    assert!(
        options.warnings[0].reason.contains("not UTF-8"),
        "{options:?}"
    );
}

#[test]
fn the_number_of_drivers_is_limited() {
    let words = |count: usize| {
        (0..count).map(|number| OsString::from(format!("--extra-csi-address=n{number}=/a")))
    };
    assert!(parse(words(64), &[]).is_ok());
    let error = parse(words(65), &[]).unwrap_err();
    assert!(error.message.contains("more than 64 times"), "{error:?}");
}

#[test]
fn the_help_fits_79_columns_and_has_every_flag() {
    let text = help();
    for line in text.lines().chain(version().lines()) {
        assert!(line.len() <= 79 && line.is_ascii(), "{line}");
        assert_eq!(line.trim_end(), line);
    }
    for flag in TABLE.flags().filter(|flag| flag.name != "--h") {
        for part in [flag.name, flag.value, flag.default, flag.variable] {
            assert!(text.contains(part), "{}: {part}", flag.name);
        }
    }
}

/// The table has the defaults as text for the help, and raw.rs has them as values.
#[test]
fn the_defaults_in_the_help_are_those_that_are_used() {
    let Ok(Command::Serve(options)) = parse([], &[]) else {
        panic!("it does not serve");
    };
    let defaults: Vec<OsString> = TABLE
        .flags()
        .filter(|flag| {
            !flag.default.is_empty() && !["--interval", "--retries"].contains(&flag.name)
        })
        .map(|flag| OsString::from(format!("{}={}", flag.name, flag.default)))
        .collect();
    assert_eq!(defaults.len(), 7, "{defaults:?}");
    assert_eq!(parse(defaults, &[]), Ok(Command::Serve(options)));
    assert_eq!(
        parse(["--interval=10s".into()], &[]),
        parse(["--retries=3".into()], &[])
    );
}

#[test]
fn the_usage_shows_this_very_help() {
    let usage = include_str!("../../docs/usage.md");
    assert!(
        usage.contains(&format!("```text\n$ livenessprobe --help\n{}```", help())),
        "docs/usage.md is behind; `livenessprobe --help` prints:\n{}",
        help()
    );
}

#[test]
fn the_readme_s_flags_have_these_variables_and_defaults() {
    let readme = include_str!("../../README.md");
    let (_, section) = readme.split_once("\n## Flags\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut rows = 0;
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let code = |cell: &'static str| cell.trim_matches('`');
        let flag = TABLE.flags().find(|flag| flag.name == code(cells[1]));
        let flag = flag.unwrap_or_else(|| panic!("{line}"));
        assert_eq!(code(cells[2]), flag.variable, "{line}");
        assert_eq!(code(cells[3]), flag.default, "{line}");
        rows += 1;
    }
    assert_eq!(rows, 5);
}
