//! Every fault that the soak provokes: those of the faulty-driver suite, and those in which
//! there is no connection.

use std::any::Any;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use testkit::faulty_driver::Behaviour;
use testkit::misconduct::{MISCONDUCT, RESETS};
use testkit::sys::shorten_queue;
use testkit::{Dir, Driver};

/// A fault that makes a probe fail.
pub struct Fault {
    pub what: &'static str,
    pub kind: Kind,
    /// Words that the error must contain.
    pub words: &'static str,
}

pub enum Kind {
    /// The faulty driver behaves in this way.
    Misbehaves(Behaviour),
    /// The driver closes its listener, and listens again later.
    Closes { removes_file: bool },
    /// Something else is at the place of the socket, until the value is dropped.
    Replaced(fn(&Dir) -> Box<dyn Any>),
    /// Another driver at the same place is killed during the call.
    Killed,
}

/// Returns the faults that make a probe fail at once.
pub fn quick() -> Vec<Fault> {
    let replaced = [
        fault("a file", Kind::Replaced(file), "not a socket"),
        fault("a directory", Kind::Replaced(directory), "not a socket"),
        fault("a datagram socket", Kind::Replaced(datagram), "wrong type"),
        fault(
            "a loop of links",
            Kind::Replaced(links),
            "cannot connect to ",
        ),
    ];
    misconduct(false).chain(replaced).collect()
}

/// Returns the faults that take most of a probe's timeout, or a process.
pub fn slow() -> Vec<Fault> {
    let others = [
        fault("no file", closes(true), "no such file or directory"),
        fault("no listener", closes(false), "connection refused"),
        fault("a full queue", Kind::Replaced(queue), "its queue is full"),
        fault("a huge reply", Kind::Replaced(huge), "is far too large"),
        fault("killed", Kind::Killed, "code = Unavailable"),
    ];
    misconduct(true).chain(others).collect()
}

/// Returns the faults of a driver that accepts the connection: those that last until the
/// deadline, or the others.
fn misconduct(is_slow: bool) -> impl Iterator<Item = Fault> {
    MISCONDUCT
        .iter()
        .chain(RESETS)
        .filter(move |(_, _, words)| words.contains("DeadlineExceeded") == is_slow)
        .map(|(what, behaviour, words)| fault(what, Kind::Misbehaves(behaviour.clone()), words))
}

fn fault(what: &'static str, kind: Kind, words: &'static str) -> Fault {
    Fault { what, kind, words }
}

fn closes(removes_file: bool) -> Kind {
    Kind::Closes { removes_file }
}

fn file(dir: &Dir) -> Box<dyn Any> {
    std::fs::write(dir.socket(), "x").unwrap();
    Box::new(())
}

fn directory(dir: &Dir) -> Box<dyn Any> {
    std::fs::create_dir(dir.socket()).unwrap();
    Box::new(())
}

fn datagram(dir: &Dir) -> Box<dyn Any> {
    Box::new(UnixDatagram::bind(dir.socket()).unwrap())
}

fn links(dir: &Dir) -> Box<dyn Any> {
    symlink(dir.socket(), dir.socket()).unwrap();
    Box::new(())
}

/// Fills an accept queue that has room for one connection.
fn queue(dir: &Dir) -> Box<dyn Any> {
    let listener = UnixListener::bind(dir.socket()).unwrap();
    shorten_queue(&listener);
    let waiting = UnixStream::connect(dir.socket()).unwrap();
    Box::new((listener, waiting))
}

/// Sends far more than the limit of a reply.
fn huge(dir: &Dir) -> Box<dyn Any> {
    Box::new(Driver::start(&dir.socket(), &["--padding=10000000"]))
}
