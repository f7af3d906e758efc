//! The place of a driver's socket, and whoever is behind it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::way::{How, Way};
use testkit::faulty_driver::{Behaviour, FaultyDriver};
use testkit::{Dir, Driver, Response};

/// A link at the place of the socket leads to whoever is on: the actor, or, for all
/// that is well, a real gRPC server where there is one.
pub struct Stage {
    dir: Dir,
    actor: FaultyDriver,
    real: Option<Driver>,
}

impl Stage {
    /// With an actor alone.
    pub fn new() -> Stage {
        let dir = Dir::new();
        let stage = Stage {
            actor: FaultyDriver::listen(&actors(&dir)),
            real: None,
            dir,
        };
        stage.recover();
        stage
    }

    /// With a real gRPC server, too.
    pub fn with_a_real_driver() -> Stage {
        let mut stage = Stage::new();
        let driver = Driver::start(&reals(&stage.dir).display().to_string(), &[]);
        stage.real = Some(driver);
        stage.recover();
        stage
    }

    pub fn address(&self) -> String {
        self.dir.socket()
    }

    /// What is answered while a driver fails like this; then it is well again.
    pub fn play(&mut self, way: &Way, ask: &(dyn Fn() -> Response + Sync)) -> Response {
        let response = match &way.how {
            How::Behaves(behaviour) => {
                self.actor.set(behaviour.clone());
                self.put_on(&actors(&self.dir));
                let response = ask();
                self.actor.set(Behaviour::Healthy);
                response
            }
            How::Leaves {
                and_removes_its_file,
            } => self.leave(*and_removes_its_file, ask),
            How::Instead(make) => {
                self.clear();
                let _kept = make(&self.dir);
                ask()
            }
            How::IsKilled => self.kill(ask),
        };
        self.recover();
        response
    }

    fn leave(&mut self, removes_its_file: bool, ask: &(dyn Fn() -> Response + Sync)) -> Response {
        self.actor.close();
        self.put_on(&actors(&self.dir));
        if removes_its_file {
            self.clear();
        }
        let response = ask();
        std::fs::remove_file(actors(&self.dir)).unwrap();
        self.actor = FaultyDriver::listen(&actors(&self.dir));
        response
    }

    fn kill(&self, ask: &(dyn Fn() -> Response + Sync)) -> Response {
        self.clear();
        let mut driver = Driver::start(&self.dir.socket(), &["--hang"]);
        std::thread::scope(|scope| {
            let asked = scope.spawn(ask);
            driver.process.out.wait_for(0, "probe begin");
            driver.process.kill();
            asked.join().unwrap()
        })
    }

    fn recover(&self) {
        match self.real {
            Some(_) => self.put_on(&reals(&self.dir)),
            None => self.put_on(&actors(&self.dir)),
        }
    }

    /// In one step, while whoever was on before still listens.
    fn put_on(&self, path: &Path) {
        let next = self.dir.path().join("next.sock");
        // Only a directory is not replaced by rename(2).
        let _ = std::fs::remove_dir(self.dir.socket());
        symlink(path, &next).unwrap();
        std::fs::rename(next, self.dir.socket()).unwrap();
    }

    fn clear(&self) {
        std::fs::remove_file(self.dir.socket()).unwrap();
    }
}

fn actors(dir: &Dir) -> PathBuf {
    dir.path().join("actor.sock")
}

fn reals(dir: &Dir) -> PathBuf {
    dir.path().join("real.sock")
}
