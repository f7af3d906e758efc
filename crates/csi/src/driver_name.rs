//! The driver's name, for metrics and people: asked in the background until it
//! is learned, then never again. Nothing waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use program::escape;
use program::log_throttle::LogThrottle;
use program::panics;

use crate::address::CsiAddress;
use crate::call::{Caller, Limits};
use crate::connect::connect_if_there;
use crate::deadline::Deadline;
use crate::error::{CallError, Code, ConnectError, Reason};
use crate::identity::{GET_PLUGIN_INFO, GetPluginInfoRequest};

/// What the driver is called until it has said its name; upstream's word.
pub const UNKNOWN: &str = "unknown-driver";

/// From the beginning of one attempt to that of the next: within this time of
/// the driver's first healthy answer its name is known.
const PACE: Duration = Duration::from_secs(1);

/// What an attempt has, over the lookup of the host's name, connecting and the call, so that
/// one which hangs does not hold up the next. A driver that needs longer has all of
/// --probe-timeout every second time.
const QUICK: Duration = Duration::from_millis(900);

/// Twice what the specification allows. It is in each line of the metrics.
const NAME_MAX: usize = 126;

const STACK: usize = 256 * 1024;

/// A name that may not be known yet.
#[derive(Clone)]
pub struct DriverName {
    told: Arc<OnceLock<String>>,
    until_then: Arc<str>,
    /// Whether the driver answered the last probe.
    answers: Arc<AtomicBool>,
}

impl Default for DriverName {
    fn default() -> DriverName {
        DriverName::or(UNKNOWN)
    }
}

impl DriverName {
    /// A name that is this one until the driver has told its own.
    #[must_use]
    pub fn or(until_then: &str) -> DriverName {
        DriverName {
            told: Arc::default(),
            until_then: until_then.into(),
            answers: Arc::default(),
        }
    }

    /// The name.
    #[must_use]
    pub fn get(&self) -> &str {
        self.told.get().map_or(&self.until_then, String::as_str)
    }

    /// Sets the name, once: the first one stays.
    pub fn set(&self, name: String) {
        // An error is the name that came second.
        let _ = self.told.set(name);
    }

    /// Takes in whether the driver answered a probe. Why the name cannot be learned is worth
    /// a log line only then: of a driver that does not answer the probes tell.
    pub fn probed(&self, answers: bool) {
        self.answers.store(answers, Ordering::Relaxed);
    }

    /// Starts asking. `on_call` hears of each GetPluginInfo call that was made:
    /// its code and how long it took.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn learn(
        &self,
        address: CsiAddress,
        caller: Arc<Caller>,
        timeout: Duration,
        on_call: impl Fn(Code, Duration) + Send + 'static,
    ) -> Result<(), String> {
        let name = self.clone();
        thread::Builder::new()
            .name("driver-name".to_owned())
            .stack_size(STACK)
            .spawn(move || name.ask_until_known(&address, &caller, timeout, &on_call))
            .map(drop)
            .map_err(|error| format!("cannot start the thread \"driver-name\": {error}"))
    }

    fn ask_until_known(
        &self,
        address: &CsiAddress,
        caller: &Caller,
        timeout: Duration,
        on_call: &dyn Fn(Code, Duration),
    ) {
        let mut log = LogThrottle::new();
        let mut quick = true;
        loop {
            let began = Instant::now();
            let this_time = if quick { timeout.min(QUICK) } else { timeout };
            let answer = panics::caught(|| ask(address, caller, this_time, on_call))
                .unwrap_or_else(|panic| Err(NameError::Unusable(format!("panic: {panic}"))));
            let failure = match answer {
                Ok(name) => {
                    self.set(name);
                    log::info!(driver = self.get(); "CSI driver name");
                    return;
                }
                Err(NameError::NotThere) => None,
                Err(NameError::TooSlow(reason)) => {
                    let had_all_the_time = this_time == timeout;
                    quick = !quick;
                    let is_news = had_all_the_time && self.answers.load(Ordering::Relaxed);
                    is_news.then_some(("too slow", reason))
                }
                Err(NameError::Unusable(reason)) => Some(("unusable", reason)),
            };
            if let Some((kind, reason)) = failure
                && log.is_worth_a_line(Some(kind), Instant::now()).is_some()
            {
                log::warn!(
                    err = reason.as_str(), address = address.to_string();
                    "Cannot learn the driver's name, will go on trying"
                );
            }
            thread::sleep(PACE.saturating_sub(began.elapsed()));
        }
    }
}

/// Why an attempt did not learn the name.
enum NameError {
    /// There is no connection to be had. The probes tell of that.
    NotThere,
    /// The driver, or the lookup of its host's name, took too long.
    TooSlow(String),
    /// The driver gave an error, or no name.
    Unusable(String),
}

impl From<ConnectError> for NameError {
    fn from(error: ConnectError) -> NameError {
        match error.reason {
            Reason::TimedOut | Reason::QueueFull => NameError::TooSlow(error.to_string()),
            _ => NameError::NotThere,
        }
    }
}

impl From<CallError> for NameError {
    fn from(error: CallError) -> NameError {
        let is_slow = error.code == Code::DEADLINE_EXCEEDED;
        let reason = error.to_string();
        if is_slow {
            NameError::TooSlow(reason)
        } else {
            NameError::Unusable(reason)
        }
    }
}

fn ask(
    address: &CsiAddress,
    caller: &Caller,
    timeout: Duration,
    on_call: &dyn Fn(Code, Duration),
) -> Result<String, NameError> {
    let deadline = Deadline::new(Instant::now(), timeout);
    let connection = connect_if_there(address, deadline.at())?;
    let calling = Instant::now();
    let reply = caller.call(
        &GET_PLUGIN_INFO,
        &GetPluginInfoRequest::new(),
        connection,
        address,
        deadline,
        Limits::SHORT,
    );
    let code = reply.as_ref().map_or_else(|error| error.code, |_| Code::OK);
    on_call(code, calling.elapsed());
    let name = reply?.name;
    if name.is_empty() {
        let reason = "GetPluginInfo returned an empty name";
        return Err(NameError::Unusable(reason.to_owned()));
    }
    Ok(escape::capped_to(NAME_MAX, &escape::one_line(&name)))
}
