//! A CSI driver's Identity service on tonic. The flags and the lines on stdout are those of
//! `examples/csi_driver.rs`, which explains them.

mod identity;
mod options;
mod raw;

use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::Stream;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tower::service_fn;

use options::Options;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("driver: {reason}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let Some(options) = Options::parse()? else {
        println!("tonic {}, h2 {}", locked("tonic"), locked("h2"));
        return Ok(());
    };
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(listen(options))
}

/// Returns the version of a package that this driver was built with.
fn locked(package: &str) -> &'static str {
    include_str!("../Cargo.lock")
        .split_once(&format!("name = \"{package}\"\nversion = \""))
        .and_then(|(_, rest)| rest.split('"').next())
        .unwrap_or("of an unknown version")
}

async fn listen(options: Options) -> Result<(), Box<dyn Error>> {
    let address = options.address.clone();
    if let Some(name) = address.strip_prefix("unix-abstract:") {
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
        return serve(unix(listener)?, options).await;
    }
    let path = address.strip_prefix("unix:").unwrap_or(&address);
    if path == address && !path.starts_with('/') {
        let listener = tokio::net::TcpListener::bind(path).await?;
        return serve(TcpListenerStream::new(listener), options).await;
    }
    if let Some(directory) = Path::new(path).parent() {
        fs::create_dir_all(directory)?;
    }
    // A driver that was killed may have left its socket.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    serve(unix(UnixListener::bind(path)?)?, options).await
}

fn unix(listener: UnixListener) -> io::Result<UnixListenerStream> {
    listener.set_nonblocking(true)?;
    tokio::net::UnixListener::from_std(listener).map(UnixListenerStream::new)
}

/// Serves until SIGTERM, and then finishes the calls in flight.
async fn serve<Socket>(
    incoming: impl Stream<Item = io::Result<Socket>>,
    options: Options,
) -> Result<(), Box<dyn Error>>
where
    Socket: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    // It is made once, because the padding may be hundreds of megabytes.
    let reply = identity::reply(&options);
    let options = Arc::new(options);
    let service =
        service_fn(move |request| identity::answer(Arc::clone(&options), reply.clone(), request));
    let mut stop = signal(SignalKind::terminate())?;
    event("listening");
    let stopped = async move {
        stop.recv().await;
    };
    Server::builder()
        .serve_with_incoming_shutdown(service, incoming, stopped)
        .await?;
    Ok(())
}

/// Writes a line to stdout at once. The driver goes on if stdout has no reader.
fn event(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
