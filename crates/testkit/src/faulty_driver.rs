//! A fake driver whose behaviour a test changes from call to call.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use crate::h2;

/// What the driver does with a connection, or with the stream of a call on it.
#[derive(Clone)]
pub enum Behaviour {
    /// It replies that it is ready.
    Healthy,
    /// It accepts the connection and sends nothing.
    Silent,
    /// It sends SETTINGS and nothing else.
    SettingsOnly,
    /// It replies to a call with these bytes and keeps the connection.
    Replies(fn(u32) -> Vec<u8>),
    /// It replies to a call with these bytes and closes the connection.
    RepliesAndCloses(fn(u32) -> Vec<u8>),
}

/// A driver whose behaviour can be changed at any time.
pub struct FaultyDriver {
    behaviour: Arc<Mutex<Behaviour>>,
    listener: UnixListener,
}

impl FaultyDriver {
    /// Listens at `path`, and is healthy.
    pub fn listen(path: &Path) -> FaultyDriver {
        let behaviour = Arc::new(Mutex::new(Behaviour::Healthy));
        let listener = UnixListener::bind(path).expect("a socket for the faulty driver");
        let accepting = listener.try_clone().unwrap();
        let current = Arc::clone(&behaviour);
        std::thread::spawn(move || {
            for socket in accepting.incoming().map_while(Result::ok) {
                let behaviour = current.lock().unwrap().clone();
                std::thread::spawn(move || serve(socket, &behaviour));
            }
        });
        FaultyDriver {
            behaviour,
            listener,
        }
    }

    /// Changes the behaviour, from the next connection on.
    pub fn set(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    /// Closes the listener. The socket's file stays.
    pub fn close(&self) {
        h2::close(&self.listener);
    }
}

fn serve(mut socket: UnixStream, behaviour: &Behaviour) {
    let count = AtomicUsize::new(0);
    let reply = |bytes: fn(u32) -> Vec<u8>, closes: bool| {
        move |mut call: h2::Call| {
            call.send(&bytes(call.stream));
            if closes {
                let _ = call.socket.shutdown(std::net::Shutdown::Both);
            }
        }
    };
    match behaviour {
        Behaviour::Healthy => {
            h2::converse(
                socket,
                &reply(|stream| h2::ok(stream, h2::READY), false),
                &count,
            );
        }
        Behaviour::Replies(bytes) => h2::converse(socket, &reply(*bytes, false), &count),
        Behaviour::RepliesAndCloses(bytes) => h2::converse(socket, &reply(*bytes, true), &count),
        Behaviour::Silent | Behaviour::SettingsOnly => {
            if matches!(behaviour, Behaviour::SettingsOnly) {
                let _ = socket.write_all(&h2::frame(h2::SETTINGS, 0, 0, &[]));
            }
            // Until the client closes the connection.
            let _ = socket.read_to_end(&mut Vec::new());
        }
    }
}
