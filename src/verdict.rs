//! The answer to a request about health: from an outcome to a status and a body. Pure: no socket
//! and no clock of its own.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use program::utc::Utc;
use program::{duration, escape};

use crate::outcome::{Outcome, Readiness};
use crate::routes::Question;

const MICROSECOND: Duration = Duration::from_micros(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// The status and body for several drivers, each with its path. All must be healthy; the body names
/// those that are not.
#[must_use]
pub fn answer_for_all(answers: &[(String, (u16, String))]) -> (u16, String) {
    let unhealthy = answers.iter().filter(|(_, (status, _))| *status != 200);
    let reasons: Vec<String> = unhealthy
        .map(|(path, (_, body))| format!("{path}: {body}"))
        .collect();
    if reasons.is_empty() {
        (200, "ok".to_owned())
    } else {
        (500, reasons.join("; "))
    }
}

/// The details of `?verbose`.
#[derive(Clone, Debug)]
pub struct Details {
    /// The driver's name, as far as it is known.
    pub driver: String,
    /// The driver's address.
    pub address: String,
    /// How long the probe took, or has taken when it did not end in time.
    pub took: Duration,
    /// How long ago a probe last found the driver ready. Not the time when it did, because the wall
    /// clock may have been set since.
    pub last_success: Option<Duration>,
    /// The current time of the wall clock.
    pub now: SystemTime,
}

/// The status and body for an outcome.
#[must_use]
pub fn answer(question: Question, outcome: &Outcome) -> (u16, String) {
    match outcome {
        Ok(Readiness::NotReady) if question.initialising_is_healthy => {
            (200, format!("ok ({})", Readiness::NotReady))
        }
        Ok(Readiness::Ready) => (200, Readiness::Ready.to_string()),
        Ok(readiness) => (500, readiness.to_string()),
        Err(error) => (500, escape::one_line(&error.to_string())),
    }
}

/// The body of `?verbose`: the path, if there are several drivers, the plain body, and a line for
/// each detail.
#[must_use]
pub fn verbose(plain: &str, path: Option<&str>, details: &Details) -> String {
    let last_success = match details.last_success {
        Some(age) => {
            let time = details.now.checked_sub(age).unwrap_or(details.now);
            format!(
                "{} ({} ago)",
                Utc::from(time).rfc3339(),
                duration::format_to(age, MILLISECOND)
            )
        }
        None => "never since this process started".to_owned(),
    };
    let mut body = String::with_capacity(plain.len() + 256);
    if let Some(path) = path {
        // Writing to a String cannot fail.
        let _ = writeln!(body, "path: {path}");
    }
    for (name, value) in [
        ("result", plain),
        ("driver", &escape::one_line(&details.driver)),
        ("address", &escape::one_line(&details.address)),
        ("took", &duration::format_to(details.took, MICROSECOND)),
        ("last success", &last_success),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(body, "{name}: {value}");
    }
    body
}

#[cfg(test)]
mod tests {
    use csi::{CallError, Code, ConnectError, Reason};

    use super::*;
    use crate::outcome::ProbeError;
    use crate::routes::Target;

    #[test]
    fn outcomes_become_upstream_s_statuses_and_bodies() {
        let strict = Question {
            of: Target::Main,
            initialising_is_healthy: false,
            verbose: false,
        };
        let lenient = Question {
            initialising_is_healthy: true,
            ..strict
        };
        let call = Err(ProbeError::Call(CallError::new(Code(9), "no\ndisk\x07")));
        let connect = Err(ProbeError::Connect(ConnectError {
            address: "/csi/csi.sock".to_owned(),
            cause: "connection refused".to_owned(),
            reason: Reason::Refused,
            is_transient: true,
        }));
        let table = [
            (strict, Ok(Readiness::Ready), 200, "ok"),
            (
                strict,
                Ok(Readiness::NotReady),
                500,
                "driver responded but is not ready",
            ),
            (
                lenient,
                Ok(Readiness::NotReady),
                200,
                "ok (driver responded but is not ready)",
            ),
            (
                lenient,
                Ok(Readiness::NotServing(2)),
                500,
                "driver responded but its health is NOT_SERVING",
            ),
            (
                strict,
                call.clone(),
                500,
                "rpc error: code = FailedPrecondition desc = no\\ndisk\\x07",
            ),
            (
                lenient,
                call,
                500,
                "rpc error: code = FailedPrecondition desc = no\\ndisk\\x07",
            ),
            (
                strict,
                connect,
                500,
                "cannot connect to /csi/csi.sock: connection refused",
            ),
        ];
        for (question, outcome, status, body) in table {
            assert_eq!(answer(question, &outcome), (status, body.to_owned()));
        }
    }

    #[test]
    fn verbose_has_driver_address_duration_and_last_success() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_165_932_172);
        let mut details = Details {
            driver: "hostpath.csi.k8s.io".to_owned(),
            address: "/csi/csi.sock".to_owned(),
            took: Duration::from_nanos(1_234_567),
            last_success: Some(Duration::from_millis(61_500)),
            now,
        };
        assert_eq!(
            verbose("ok", None, &details),
            "result: ok\n\
             driver: hostpath.csi.k8s.io\n\
             address: /csi/csi.sock\n\
             took: 1.234ms\n\
             last success: 2026-11-20T09:11:10.672Z (1m1.5s ago)\n"
        );
        details.last_success = None;
        assert!(verbose("ok", None, &details).contains("last success: never since"));
        // A clock that was set back since puts the success before the epoch.
        details.last_success = Some(Duration::from_hours(876_000));
        assert!(verbose("ok", None, &details).contains("1970-01-01T00:00:00.000Z (876000h"));
    }

    #[test]
    fn all_are_healthy_or_the_unhealthy_ones_are_named() {
        let answer = |name: &str, status, body: &str| (name.to_owned(), (status, body.to_owned()));
        let mut answers = vec![answer("a", 200, "ok"), answer("b", 200, "ok (x)")];
        assert_eq!(answer_for_all(&answers), (200, "ok".to_owned()));
        answers.push(answer("c", 500, "gone"));
        answers.push(answer("d", 500, "hangs"));
        assert_eq!(
            answer_for_all(&answers),
            (500, "c: gone; d: hangs".to_owned())
        );
    }
}
