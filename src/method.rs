//! The gRPC method that a probe calls, and how its reply is read.

use std::os::fd::OwnedFd;
use std::sync::Mutex;

use csi::grpc_health::{CHECK, HealthCheckRequest, HealthCheckResponse};
use csi::identity::{PROBE, ProbeRequest, ProbeResponse};
use csi::{CallError, CallLimits, Caller, CsiAddress, Deadline};
use program::threads::lock;

use crate::outcome::Readiness;

/// The path of gRPC's own health service.
pub const HEALTH_CHECK_PATH: &str = CHECK.name;

/// The gRPC method that is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// `csi.v1.Identity/Probe`.
    Identity,
    /// The Check of gRPC's health service, about one service, or about the whole server if the name
    /// is empty.
    Health {
        /// The service.
        service: String,
    },
    /// Any other method, with an empty request. Status OK is healthy.
    Other {
        /// Its path.
        path: String,
    },
}

impl Method {
    /// The method with this path.
    #[must_use]
    pub fn of_path(path: &str) -> Method {
        if path == PROBE.name {
            Method::Identity
        } else if path == CHECK.name {
            Method::Health {
                service: String::new(),
            }
        } else {
            Method::Other {
                path: path.to_owned(),
            }
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &'static str {
        match self {
            Method::Identity => PROBE.name,
            Method::Health { .. } => CHECK.name,
            Method::Other { path } => leaked(path),
        }
    }

    /// Whether a CSI driver answers it, which can be asked for its name.
    #[must_use]
    pub fn is_csi(&self) -> bool {
        match self {
            Method::Identity => true,
            Method::Health { .. } => false,
            Method::Other { path } => path.starts_with("/csi."),
        }
    }

    pub(crate) fn call(
        &self,
        caller: &Caller,
        socket: OwnedFd,
        address: &CsiAddress,
        deadline: Deadline,
    ) -> Result<Readiness, CallError> {
        const LIMITS: CallLimits = CallLimits::SHORT;
        match self {
            Method::Identity => caller
                .call(
                    &PROBE,
                    &ProbeRequest::new(),
                    socket,
                    address,
                    deadline,
                    LIMITS,
                )
                .map(|reply| readiness(&reply)),
            Method::Health { service } => {
                let mut request = HealthCheckRequest::new();
                request.service.clone_from(service);
                caller
                    .call(&CHECK, &request, socket, address, deadline, LIMITS)
                    .map(|reply| serving(&reply))
            }
            Method::Other { .. } => {
                let method = csi::without_fields(self.path());
                caller
                    .call(&method, &(), socket, address, deadline, LIMITS)
                    .map(|()| Readiness::Ready)
            }
        }
    }
}

/// Reads a Probe's reply. A field that is absent means ready, as the specification demands; one
/// that is present but empty is how protobuf writes false.
fn readiness(reply: &ProbeResponse) -> Readiness {
    if reply.ready.as_ref().is_none_or(|ready| ready.value) {
        Readiness::Ready
    } else {
        Readiness::NotReady
    }
}

fn serving(reply: &HealthCheckResponse) -> Readiness {
    /// The value of SERVING in the enumeration.
    const SERVING: i32 = 1;
    match reply.status.value() {
        SERVING => Readiness::Ready,
        status => Readiness::NotServing(status),
    }
}

/// grpcio wants `&'static str`, so the name of a custom method is leaked, once per process.
fn leaked(path: &str) -> &'static str {
    static LEAKED: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    let mut leaked = lock(&LEAKED);
    if let Some(path) = leaked.iter().find(|one| **one == path) {
        return path;
    }
    let path = Box::leak(path.to_owned().into_boxed_str());
    leaked.push(path);
    path
}
