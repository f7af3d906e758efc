//! The place of a driver's socket, and what can be put there.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use testkit::faulty_driver::{Behaviour, FaultyDriver};
use testkit::{Dir, Driver, Response};

use super::fault::{Fault, Kind};

/// A symbolic link at the place of the socket leads to the faulty driver or, while there is
/// no fault, to a real gRPC server if the rig has one.
pub struct Rig {
    dir: Dir,
    faulty: FaultyDriver,
    real: Option<Driver>,
}

/// Sends a request and returns the response.
pub type Get<'a> = &'a (dyn Fn() -> Response + Sync);

impl Rig {
    /// Sets up a rig with a faulty driver alone.
    pub fn new() -> Rig {
        let dir = Dir::new();
        let rig = Rig {
            faulty: FaultyDriver::listen(&faulty_path(&dir)),
            real: None,
            dir,
        };
        rig.recover();
        rig
    }

    /// Sets up a rig that has a real gRPC server, too.
    pub fn with_a_real_driver() -> Rig {
        let mut rig = Rig::new();
        let driver = Driver::start(&real_path(&rig.dir).display().to_string(), &[]);
        rig.real = Some(driver);
        rig.recover();
        rig
    }

    /// Returns the address of the socket.
    pub fn address(&self) -> String {
        self.dir.socket()
    }

    /// Provokes a fault, sends a request meanwhile, and recovers from the fault.
    pub fn provoke(&mut self, fault: &Fault, get: Get) -> Response {
        let response = match &fault.kind {
            Kind::Misbehaves(behaviour) => {
                self.faulty.set(behaviour.clone());
                self.link_to(&faulty_path(&self.dir));
                let response = get();
                self.faulty.set(Behaviour::Healthy);
                response
            }
            Kind::Closes { removes_file } => self.close(*removes_file, get),
            Kind::Replaced(make) => {
                self.clear();
                let _kept = make(&self.dir);
                get()
            }
            Kind::Killed => self.kill(get),
        };
        self.recover();
        response
    }

    fn close(&mut self, removes_file: bool, get: Get) -> Response {
        self.faulty.close();
        self.link_to(&faulty_path(&self.dir));
        if removes_file {
            self.clear();
        }
        let response = get();
        std::fs::remove_file(faulty_path(&self.dir)).unwrap();
        self.faulty = FaultyDriver::listen(&faulty_path(&self.dir));
        response
    }

    fn kill(&self, get: Get) -> Response {
        self.clear();
        let mut driver = Driver::start(&self.dir.socket(), &["--hang"]);
        std::thread::scope(|scope| {
            let client = scope.spawn(get);
            driver.process.out.wait_for(0, "probe begin");
            driver.process.kill();
            client.join().unwrap()
        })
    }

    fn recover(&self) {
        match self.real {
            Some(_) => self.link_to(&real_path(&self.dir)),
            None => self.link_to(&faulty_path(&self.dir)),
        }
    }

    /// Replaces the link in one step, so that there is a listener at any time.
    fn link_to(&self, path: &Path) {
        let next = self.dir.path().join("next.sock");
        // rename(2) replaces anything but a directory.
        let _ = std::fs::remove_dir(self.dir.socket());
        symlink(path, &next).unwrap();
        std::fs::rename(next, self.dir.socket()).unwrap();
    }

    fn clear(&self) {
        std::fs::remove_file(self.dir.socket()).unwrap();
    }
}

fn faulty_path(dir: &Dir) -> PathBuf {
    dir.path().join("faulty.sock")
}

fn real_path(dir: &Dir) -> PathBuf {
    dir.path().join("real.sock")
}
