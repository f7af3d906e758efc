//! The same without Unix sockets: a security profile may keep AF_UNIX from a container and
//! leave it TCP, as containerd's does for AppArmor on Linux 6.17 (containerd#12726). kubelet
//! is then to hear why the driver's socket cannot be reached, and not to find this program
//! gone.
//!
//! tiny_http takes connections from nothing but accept(2), and a TCP listener cannot be kept
//! for our own: shutdown(2) resets what waits in its queue, after the last of ours a stranger
//! may come in before it is closed, and a socket filter takes CAP_NET_ADMIN on some kernels.
//! socketpair(2) would need neither, and AppArmor refuses it along with socket(2). So a
//! thread reads what the door writes on a stream, and tiny_http writes the answers alone.

use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use tiny_http::HTTPVersion;

use super::{Respond, STACK, moment, response};
use crate::admission::ARRIVED_HEADER;
use crate::health::Route;
use crate::panics;
use crate::socket;

/// As `super::open`.
pub fn open(
    count: usize,
    origin: Instant,
    respond: &Arc<Respond>,
    beyond_repair: &(impl Fn(&str) + Clone + Send + 'static),
) -> io::Result<Vec<UnixStream>> {
    (0..count)
        .map(|_| {
            let (near, far) = socket::tcp_pair()?;
            let respond = Arc::clone(respond);
            let beyond_repair = beyond_repair.clone();
            thread::Builder::new()
                .name("request".to_owned())
                .stack_size(STACK)
                .spawn(move || {
                    let error = panics::caught(|| attend(&far, origin, &*respond));
                    let reason = error.unwrap_or_else(io::Error::other);
                    beyond_repair(&format!("cannot serve HTTP any more: {reason}"));
                })?;
            // It is read, written and polled, which is the same for a stream of either kind.
            Ok(UnixStream::from(OwnedFd::from(near)))
        })
        .collect()
}

/// Answers what comes over this stream, one request after the other; says why it ended.
fn attend(stream: &TcpStream, origin: Instant, respond: &Respond) -> io::Error {
    let mut requests = BufReader::new(stream);
    loop {
        match answer_next(&mut requests, stream, origin, respond) {
            Ok(()) => {}
            Err(error) => return error,
        }
    }
}

fn answer_next(
    requests: &mut BufReader<&TcpStream>,
    stream: &TcpStream,
    origin: Instant,
    respond: &Respond,
) -> io::Result<()> {
    let request_line = line(requests)?;
    let target = request_line.split(' ').nth(1).unwrap_or_default();
    let mut arrived = None;
    loop {
        let header = line(requests)?;
        match header.split_once(": ") {
            Some((name, value)) if name == ARRIVED_HEADER => arrived = Some(value.to_owned()),
            Some(_) => {}
            None => break,
        }
    }
    let arrived = moment(arrived.as_deref(), origin);
    let response = response(Route::of_target(target), arrived, respond);
    let mut writer = BufWriter::new(stream);
    response.raw_print(&mut writer, HTTPVersion(1, 1), &[], false, None)?;
    writer.flush()
}

/// A line of the door's own words, which are short and end as HTTP wants it.
fn line(requests: &mut BufReader<&TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if requests.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.trim_end().len());
    Ok(line)
}
