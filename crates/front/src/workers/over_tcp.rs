//! The same without Unix sockets: a security profile may keep AF_UNIX from a container and
//! leave it TCP, as containerd's does for AppArmor on Linux 6.17 (containerd#12726). kubelet is
//! then to get an answer that says why the driver's socket cannot be reached, and not to find
//! this program gone.
//!
//! tiny_http takes connections from nothing but accept(2), and a TCP listener cannot be kept for
//! our own connections: shutdown(2) resets those that wait in its queue, a stranger may come in
//! after the last of ours and before it is closed, and a socket filter takes CAP_NET_ADMIN on
//! some kernels. socketpair(2) would need neither, and AppArmor refuses it along with socket(2).
//! So a thread reads what the event loop writes on a stream, and tiny_http writes the answers
//! alone.

use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;

use program::panics;
use tiny_http::HTTPVersion;

use super::{Fatal, STACK, Work, done};
use crate::connected_pairs;
use crate::site::Site;

/// Connects so many streams to threads that do the work.
pub(super) fn open<S: Site>(
    count: usize,
    work: &Work<S>,
    fatal: Fatal,
) -> io::Result<Vec<UnixStream>> {
    (0..count)
        .map(|_| {
            let (near, far) = connected_pairs::over_tcp()?;
            let work = work.clone();
            thread::Builder::new()
                .name("request".to_owned())
                .stack_size(STACK)
                .spawn(move || {
                    let error = panics::catch(|| serve(&far, &work));
                    let reason = error.unwrap_or_else(io::Error::other);
                    fatal(&format!("cannot serve HTTP any more: {reason}"));
                })?;
            // It is read, written and polled, which is the same for a stream of either kind.
            Ok(UnixStream::from(OwnedFd::from(near)))
        })
        .collect()
}

/// Answers what comes over this stream, one request after the other; says why it ended.
fn serve<S: Site>(stream: &TcpStream, work: &Work<S>) -> io::Error {
    let mut requests = BufReader::new(stream);
    loop {
        match answer_next(&mut requests, stream, work) {
            Ok(()) => {}
            Err(error) => return error,
        }
    }
}

fn answer_next<S: Site>(
    requests: &mut BufReader<&TcpStream>,
    stream: &TcpStream,
    work: &Work<S>,
) -> io::Result<()> {
    let request_line = line(requests)?;
    while !line(requests)?.is_empty() {}
    work.prepare(request_line.split(' ').nth(1).unwrap_or_default());
    let mut writer = BufWriter::new(stream);
    done().raw_print(&mut writer, HTTPVersion(1, 1), &[], false, None)?;
    writer.flush()
}

/// A line that the event loop has written, without its end.
fn line(requests: &mut BufReader<&TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if requests.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.trim_end().len());
    Ok(line)
}
