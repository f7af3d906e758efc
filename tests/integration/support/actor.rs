//! A driver that a test directs from call to call.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use super::h2;

/// What a driver does with a connection, or with the stream of a call on it.
#[derive(Clone)]
pub enum Behaviour {
    /// Answers.
    Well,
    /// Accepts, and says nothing.
    Silent,
    /// Sends SETTINGS, and nothing else.
    SettingsAlone,
    /// Answers a call with these bytes, and keeps the connection.
    Says(fn(u32) -> Vec<u8>),
    /// The same, and closes.
    SaysAndGoes(fn(u32) -> Vec<u8>),
}

/// A driver whose behaviour a test changes.
pub struct Actor {
    behaviour: Arc<Mutex<Behaviour>>,
    listener: UnixListener,
}

impl Actor {
    /// Listens at `path`, and is well.
    pub fn on_stage(path: &Path) -> Actor {
        let behaviour = Arc::new(Mutex::new(Behaviour::Well));
        let listener = UnixListener::bind(path).expect("a socket for the actor");
        let accepting = listener.try_clone().unwrap();
        let acting = Arc::clone(&behaviour);
        std::thread::spawn(move || {
            for socket in accepting.incoming().map_while(Result::ok) {
                let behaviour = acting.lock().unwrap().clone();
                std::thread::spawn(move || act(socket, &behaviour));
            }
        });
        Actor {
            behaviour,
            listener,
        }
    }

    pub fn behaves(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    /// Closes its listener; the socket's file stays.
    pub fn leave(&self) {
        h2::close(&self.listener);
    }
}

fn act(mut socket: UnixStream, behaviour: &Behaviour) {
    let count = AtomicUsize::new(0);
    let answer = |bytes: fn(u32) -> Vec<u8>, goes: bool| {
        move |mut call: h2::Call| {
            call.send(&bytes(call.stream));
            if goes {
                let _ = call.socket.shutdown(std::net::Shutdown::Both);
            }
        }
    };
    match behaviour {
        Behaviour::Well => {
            h2::converse(
                socket,
                &answer(|stream| h2::ok(stream, h2::READY), false),
                &count,
            );
        }
        Behaviour::Says(bytes) => h2::converse(socket, &answer(*bytes, false), &count),
        Behaviour::SaysAndGoes(bytes) => h2::converse(socket, &answer(*bytes, true), &count),
        Behaviour::Silent | Behaviour::SettingsAlone => {
            if matches!(behaviour, Behaviour::SettingsAlone) {
                let _ = socket.write_all(&h2::frame(h2::SETTINGS, 0, 0, &[]));
            }
            // Until the client closes.
            let _ = socket.read_to_end(&mut Vec::new());
        }
    }
}
