//! A CSI driver with the Identity service alone. `make run` uses it, and so do tests that need a
//! real gRPC server in a process of its own, which they can stop, kill and replace.
//!
//! It prints a line on stdout for each event: `listening`, `GetPluginInfo`, and for each Probe
//! `probe begin` and `probe end`. SIGTERM or SIGINT ends it after the calls in flight.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use csi::CsiAddress;
use csi::grpc_health::{CHECK, HealthCheckRequest, HealthCheckResponse};
use csi::identity::{
    GET_PLUGIN_INFO, GetPluginInfoRequest, GetPluginInfoResponse, PROBE, ProbeRequest,
    ProbeResponse,
};
use futures_executor::block_on;
use grpcio::{
    Environment, RpcContext, RpcStatus, ServerBuilder, ServerCredentials, ServiceBuilder, UnarySink,
};
use program::duration;
use program::signal::Stop;
use protobuf::well_known_types::wrappers::BoolValue;
use protobuf::{EnumOrUnknown, MessageField};

const HELP: &str = "\
csi_driver serves csi.v1.Identity, for trying and testing livenessprobe

  --address=ADDRESS  where to listen: /path, unix:path, unix-abstract:name or
                     host:port (default /tmp/csi-driver/csi.sock)
  --name=NAME        the name that GetPluginInfo returns
                     (default example.csi.livenessprobe)
  --ready            Probe answers ready=true (the default)
  --ready-absent     Probe answers without the field, which means ready
  --not-ready        Probe answers ready=false
  --error=CODE       Probe fails with this gRPC status code, a number
  --message=TEXT     the text of that failure
  --info-error=CODE  GetPluginInfo fails with this code
  --info-hang        GetPluginInfo never answers
  --padding=BYTES    Probe's reply carries so many bytes of an unknown field
  --health=STATUS    serves grpc.health.v1.Health as well, with this status: 1 is
                     SERVING, 2 is NOT_SERVING
  --delay=DURATION   Probe answers after this time, for example 500ms
  --hang             Probe never answers
";

#[derive(Clone)]
struct Behaviour {
    name: String,
    ready: Option<bool>,
    error: Option<i32>,
    info_error: Option<i32>,
    info_hang: bool,
    message: String,
    padding: usize,
    health: Option<i32>,
    delay: Duration,
    hang: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("csi_driver: {reason}; see --help");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    // pico-args takes a value from the next argument; here it may also follow an =.
    let words = std::env::args_os().skip(1).flat_map(|word| {
        match word.to_str().and_then(|word| word.split_once('=')) {
            Some((flag, value)) if flag.starts_with("--") => vec![flag.into(), value.into()],
            _ => vec![word],
        }
    });
    let mut arguments = pico_args::Arguments::from_vec(words.collect());
    if arguments.contains("--help") {
        print!("{HELP}");
        return Ok(());
    }
    let text = |error: pico_args::Error| error.to_string();
    let address = arguments
        .opt_value_from_fn("--address", CsiAddress::parse)
        .map_err(text)?
        .unwrap_or_else(|| CsiAddress::Path("/tmp/csi-driver/csi.sock".into()));
    let absent = arguments.contains("--ready-absent");
    let not_ready = arguments.contains("--not-ready");
    // It is the default, so it changes nothing.
    let _ = arguments.contains("--ready");
    let behaviour = Behaviour {
        name: arguments
            .opt_value_from_str("--name")
            .map_err(text)?
            .unwrap_or_else(|| "example.csi.livenessprobe".to_owned()),
        ready: (!absent).then_some(!not_ready),
        error: arguments.opt_value_from_str("--error").map_err(text)?,
        info_error: arguments.opt_value_from_str("--info-error").map_err(text)?,
        info_hang: arguments.contains("--info-hang"),
        message: arguments
            .opt_value_from_str("--message")
            .map_err(text)?
            .unwrap_or_default(),
        padding: arguments
            .opt_value_from_str("--padding")
            .map_err(text)?
            .unwrap_or(0),
        health: arguments.opt_value_from_str("--health").map_err(text)?,
        delay: arguments
            .opt_value_from_fn("--delay", duration::parse_positive)
            .map_err(text)?
            .unwrap_or(Duration::ZERO),
        hang: arguments.contains("--hang"),
    };
    if let Some(word) = arguments.finish().first() {
        return Err(format!("unknown argument {}", word.display()));
    }
    serve(&address, behaviour)
}

fn serve(address: &CsiAddress, behaviour: Behaviour) -> Result<(), String> {
    let target = match address {
        CsiAddress::Path(path) => {
            if let Some(directory) = path.parent().filter(|path| *path != Path::new("")) {
                std::fs::create_dir_all(directory)
                    .map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
            }
            format!("unix:{}", path.display())
        }
        CsiAddress::Abstract(_) | CsiAddress::Tcp { .. } => address.to_string(),
    };
    let (info, health) = (behaviour.clone(), behaviour.health);
    let mut service = ServiceBuilder::new();
    if let Some(status) = health {
        service = service.add_unary_handler(
            &CHECK,
            move |_: RpcContext<'_>, request: HealthCheckRequest, sink: UnarySink<_>| {
                event(&format!("check {:?}", request.service));
                let mut reply = HealthCheckResponse::new();
                reply.status = EnumOrUnknown::from_i32(status);
                std::thread::spawn(move || {
                    let _ = block_on(sink.success(reply));
                });
            },
        );
    }
    let service = service
        .add_unary_handler(
            &GET_PLUGIN_INFO,
            move |_: RpcContext<'_>, _: GetPluginInfoRequest, sink: UnarySink<_>| {
                event("GetPluginInfo");
                let info = info.clone();
                // On a thread of its own, because this one serves the queue through which the
                // answer is sent.
                std::thread::spawn(move || get_plugin_info(&info, sink));
            },
        )
        .add_unary_handler(
            &PROBE,
            move |_: RpcContext<'_>, _: ProbeRequest, sink: UnarySink<_>| {
                event("probe begin");
                let behaviour = behaviour.clone();
                std::thread::spawn(move || probe(&behaviour, sink));
            },
        )
        .build();
    let mut server = ServerBuilder::new(Arc::new(Environment::new(1)))
        .register_service(service)
        .build()
        .map_err(|error| error.to_string())?;
    server
        .add_listening_port(&target, ServerCredentials::insecure())
        .map_err(|error| format!("cannot listen on {target}: {error}"))?;
    server.start();
    let mut stop = Stop::install().map_err(|error| error.to_string())?;
    event("listening");
    stop.wait();
    // This refuses new calls, and waits for those in flight.
    block_on(server.shutdown()).map_err(|error| error.to_string())
}

fn get_plugin_info(behaviour: &Behaviour, sink: UnarySink<GetPluginInfoResponse>) {
    if behaviour.info_hang {
        // If it were dropped, the call would end.
        std::mem::forget(sink);
        return;
    }
    let _ = if let Some(code) = behaviour.info_error {
        block_on(sink.fail(RpcStatus::new(code)))
    } else {
        block_on(sink.success(GetPluginInfoResponse {
            name: behaviour.name.clone(),
            vendor_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..GetPluginInfoResponse::default()
        }))
    };
}

fn probe(behaviour: &Behaviour, sink: UnarySink<ProbeResponse>) {
    if behaviour.hang {
        // If it were dropped, the call would end.
        std::mem::forget(sink);
        return;
    }
    std::thread::sleep(behaviour.delay);
    // Printed before the answer is sent, because the next call may come before this thread goes on.
    event("probe end");
    // An error here and above means that the caller has gone.
    let _ = match behaviour.error {
        Some(code) => block_on(sink.fail(RpcStatus::with_message(code, behaviour.message.clone()))),
        None => block_on(sink.success(reply(behaviour))),
    };
}

fn reply(behaviour: &Behaviour) -> ProbeResponse {
    let mut reply = ProbeResponse::new();
    if let Some(value) = behaviour.ready {
        reply.ready = MessageField::some(BoolValue {
            value,
            ..BoolValue::default()
        });
    }
    if behaviour.padding > 0 {
        reply
            .special_fields
            .mut_unknown_fields()
            .add_length_delimited(1_000, vec![b'x'; behaviour.padding]);
    }
    reply
}

/// Prints a line on stdout at once. An error means that its reader has gone.
fn event(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
