//! Pairs of connected streams within this process, to which no other process can connect.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use program::Program;
use socket2::{Domain, SockAddr, Socket, Type};

/// Makes a listener with so many connections in its queue, which accepts no others, and the other
/// ends of these connections.
///
/// Its name is in the abstract namespace, which needs no file; the image has no writable one. After
/// shutdown(2) the kernel refuses further connections and keeps those in the queue. The queue has
/// room for our connections and no more, so that another process that connects in between is
/// noticed.
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
            // Another process took a place: try another name.
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
    // Linux lets one more wait than this number.
    listener.listen(i32::try_from(count.saturating_sub(1)).unwrap_or(i32::MAX))?;
    let mut streams = Vec::new();
    for _ in 0..count {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Without room connect(2) then fails with EAGAIN and does not wait.
        socket.set_nonblocking(true)?;
        socket.connect(&address)?;
        streams.push(UnixStream::from(OwnedFd::from(socket)));
    }
    listener.shutdown(Shutdown::Both)?;
    Ok((OwnedFd::from(listener).into(), streams))
}

/// Makes the two ends of a TCP connection on the loopback address, for where Unix sockets are
/// refused. Its listener is closed before the connection is used.
///
/// # Errors
///
/// That of bind(2), listen(2), connect(2) or accept(2).
pub fn over_tcp() -> io::Result<(TcpStream, TcpStream)> {
    pair_over(&TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)
}

fn pair_over(listener: &TcpListener) -> io::Result<(TcpStream, TcpStream)> {
    /// On the loopback interface nothing is lost, so nothing has to be sent again.
    const AT_ONCE: Duration = Duration::from_secs(1);
    let near = TcpStream::connect_timeout(&listener.local_addr()?, AT_ONCE)?;
    let own = near.local_addr()?;
    loop {
        let (far, peer) = listener.accept()?;
        // Otherwise another process has connected in between.
        if peer == own {
            for end in [&near, &far] {
                // If this is refused, the second of two writes waits for an acknowledgement.
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
    fn a_connection_of_another_process_is_not_taken_for_the_other_end() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stranger = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near, far) = pair_over(&listener).unwrap();
        assert_eq!(near.local_addr().unwrap(), far.peer_addr().unwrap());
        assert_eq!(near.peer_addr().unwrap(), far.local_addr().unwrap());
        assert_ne!(stranger.local_addr().unwrap(), far.peer_addr().unwrap());
    }
}
