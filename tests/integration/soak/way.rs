//! Every way in which a probe fails here: those of the faulty-driver suite, and
//! those in which there is no connection.

use std::any::Any;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use testkit::faulty_driver::Behaviour;
use testkit::misconduct::{MISCONDUCT, RESETS};
use testkit::sys::shorten_queue;
use testkit::{Dir, Driver};

/// A way in which a probe fails.
pub struct Way {
    pub what: &'static str,
    pub how: How,
    /// What it must be told in.
    pub words: &'static str,
}

pub enum How {
    /// The driver does this.
    Behaves(Behaviour),
    /// The driver closes its listener, and comes back with another.
    Leaves { and_removes_its_file: bool },
    /// In the place of its socket there is this, for as long as it is kept.
    Instead(fn(&Dir) -> Box<dyn Any>),
    /// Another one in its place is killed in the call.
    IsKilled,
}

/// Those that are told at once.
pub fn quick() -> Vec<Way> {
    let instead = [
        way("a file", How::Instead(file), "not a socket"),
        way("a directory", How::Instead(directory), "not a socket"),
        way("a datagram socket", How::Instead(datagram), "wrong type"),
        way("a loop of links", How::Instead(links), "cannot connect to "),
    ];
    misconduct(false).chain(instead).collect()
}

/// Those that take most of a probe's timeout, or a process.
pub fn slow() -> Vec<Way> {
    let others = [
        way("no file", leaves(true), "no such file or directory"),
        way("no listener", leaves(false), "connection refused"),
        way("a full queue", How::Instead(queue), "its queue is full"),
        way("a huge reply", How::Instead(huge), "is far too large"),
        way("killed", How::IsKilled, "code = Unavailable"),
    ];
    misconduct(true).chain(others).collect()
}

/// Where the driver accepts, and lets the deadline pass or does not.
fn misconduct(is_slow: bool) -> impl Iterator<Item = Way> {
    MISCONDUCT
        .iter()
        .chain(RESETS)
        .filter(move |(_, _, words)| words.contains("DeadlineExceeded") == is_slow)
        .map(|(what, behaviour, words)| way(what, How::Behaves(behaviour.clone()), words))
}

fn way(what: &'static str, how: How, words: &'static str) -> Way {
    Way { what, how, words }
}

fn leaves(and_removes_its_file: bool) -> How {
    How::Leaves {
        and_removes_its_file,
    }
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

/// Room for one connection that waits; it is taken.
fn queue(dir: &Dir) -> Box<dyn Any> {
    let listener = UnixListener::bind(dir.socket()).unwrap();
    shorten_queue(&listener);
    let waiting = UnixStream::connect(dir.socket()).unwrap();
    Box::new((listener, waiting))
}

/// Far beyond what is taken.
fn huge(dir: &Dir) -> Box<dyn Any> {
    Box::new(Driver::start(&dir.socket(), &["--padding=10000000"]))
}
