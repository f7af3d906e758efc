//! Streams whose two ends are this process' own, which no other process can have connected to.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use program::Program;
use socket2::{Domain, SockAddr, Socket, Type};

/// A listener that has taken this many connections and takes no other: the
/// other ends of them come with it.
///
/// Its name is in the abstract namespace, which needs no file (the image has no
/// writable one), and is gone for others with shutdown(2): who connects later is
/// refused, what is in the queue stays. The queue has room for these connections
/// and no more, so that a stranger who was quicker is noticed.
///
/// # Errors
///
/// That of bind(2), listen(2), connect(2) or shutdown(2).
pub fn over_unix(program: &Program, count: usize) -> io::Result<(UnixListener, Vec<UnixStream>)> {
    const ATTEMPTS: u32 = 10;
    let mut attempt = 0;
    loop {
        attempt += 1;
        match try_over_unix(program, count, attempt) {
            // A stranger took a place: another name.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && attempt < ATTEMPTS => {}
            result => return result,
        }
    }
}

fn try_over_unix(
    program: &Program,
    count: usize,
    attempt: u32,
) -> io::Result<(UnixListener, Vec<UnixStream>)> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let name = format!(
        "\0{}-{}-{attempt}-{}",
        program.package,
        std::process::id(),
        now.as_nanos()
    );
    let address = SockAddr::unix(name)?;
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    listener.bind(&address)?;
    // Linux lets one more wait than it is told.
    listener.listen(i32::try_from(count.saturating_sub(1)).unwrap_or(i32::MAX))?;
    let mut streams = Vec::new();
    for _ in 0..count {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Without room it is EAGAIN, not a wait.
        socket.set_nonblocking(true)?;
        socket.connect(&address)?;
        streams.push(UnixStream::from(OwnedFd::from(socket)));
    }
    listener.shutdown(Shutdown::Both)?;
    Ok((OwnedFd::from(listener).into(), streams))
}

/// Two ends of a TCP connection on the loopback address, where there may be no pair of Unix
/// sockets. Its listener is gone before it is used.
///
/// # Errors
///
/// That of bind(2), listen(2), connect(2) or accept(2).
pub fn over_tcp() -> io::Result<(TcpStream, TcpStream)> {
    pair_over(&TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)
}

fn pair_over(listener: &TcpListener) -> io::Result<(TcpStream, TcpStream)> {
    /// Where nothing is lost there is nothing to wait for.
    const AT_ONCE: Duration = Duration::from_secs(1);
    let near = TcpStream::connect_timeout(&listener.local_addr()?, AT_ONCE)?;
    let own = near.local_addr()?;
    loop {
        let (far, peer) = listener.accept()?;
        // Else it is a stranger who was quicker.
        if peer == own {
            for end in [&near, &far] {
                // What is written in two parts would wait for an acknowledgement, where
                // this is refused.
                let _ = end.set_nodelay(true);
            }
            return Ok((near, far));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_who_is_quicker_is_not_taken_for_the_other_end() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stranger = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near, far) = pair_over(&listener).unwrap();
        assert_eq!(near.local_addr().unwrap(), far.peer_addr().unwrap());
        assert_eq!(near.peer_addr().unwrap(), far.local_addr().unwrap());
        assert_ne!(stranger.local_addr().unwrap(), far.peer_addr().unwrap());
    }
}
