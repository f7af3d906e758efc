//! The driver's name, for metrics and logs. A thread asks the driver for it until the driver has
//! returned one, and then ends. Nothing else waits for the name.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use csi::identity::{GET_PLUGIN_INFO, GetPluginInfoRequest};
use csi::{CallError, CallLimits, Caller, Code, ConnectError, CsiAddress, Deadline, Reason};
use program::log_throttle::LogThrottle;
use program::{escape, panics, threads};

/// The name of a driver that has not returned its own yet. Upstream's metrics use the same.
pub const UNKNOWN: &str = "unknown-driver";

/// The time from the beginning of one attempt to the beginning of the next. The name is known
/// within this time of the driver's first healthy answer.
const PACE: Duration = Duration::from_secs(1);

/// The time for a quick attempt, which covers the lookup of the host, the connection and the call.
/// It is below [`PACE`], so that an attempt that hangs does not delay the next one. If a quick
/// attempt is too slow, the next one gets all of --probe-timeout, and so every second one.
const QUICK: Duration = Duration::from_millis(900);

/// The longest name that is kept, in bytes: twice what the CSI specification allows. Each line of
/// the metrics contains the name.
const NAME_MAX: usize = 126;

const STACK: usize = 256 * 1024;

/// A name that may not be known yet.
#[derive(Clone)]
pub struct DriverName {
    learned: Arc<OnceLock<String>>,
    fallback: Arc<str>,
    /// Whether the driver answered the last probe.
    answers: Arc<AtomicBool>,
}

impl Default for DriverName {
    fn default() -> DriverName {
        DriverName::or(UNKNOWN)
    }
}

impl DriverName {
    /// A name that is `fallback` until the driver has returned its own.
    #[must_use]
    pub fn or(fallback: &str) -> DriverName {
        DriverName {
            learned: Arc::default(),
            fallback: fallback.into(),
            answers: Arc::default(),
        }
    }

    /// The driver's own name, or the fallback.
    #[must_use]
    pub fn get(&self) -> &str {
        self.learned.get().map_or(&self.fallback, String::as_str)
    }

    /// Sets the driver's own name. A second call has no effect.
    pub fn set(&self, name: String) {
        // The error is the second name.
        let _ = self.learned.set(name);
    }

    /// Records whether the driver answered a probe. Only if it does, a name that it does not return
    /// in time is worth a log line; otherwise the probes log the failure already.
    pub fn probed(&self, answers: bool) {
        self.answers.store(answers, Ordering::Relaxed);
    }

    /// Starts the thread that asks the driver. It calls `on_call` after each GetPluginInfo call,
    /// with the status code and how long the call took.
    ///
    /// # Errors
    ///
    /// The kernel refuses the thread.
    pub fn learn(
        &self,
        address: CsiAddress,
        caller: Arc<Caller>,
        timeout: Duration,
        on_call: impl Fn(Code, Duration) + Send + 'static,
    ) -> Result<(), String> {
        let name = self.clone();
        threads::spawn("driver-name", STACK, move || {
            name.ask_until_known(&address, &caller, timeout, &on_call);
        })
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
            let time = if quick { timeout.min(QUICK) } else { timeout };
            let answer = panics::catch(|| ask(address, caller, time, on_call))
                .unwrap_or_else(|panic| Err(NameError::Unusable(format!("panic: {panic}"))));
            let failure = match answer {
                Ok(name) => {
                    self.set(name);
                    log::info!(driver = self.get(); "CSI driver name");
                    return;
                }
                Err(NameError::NotConnected) => None,
                Err(NameError::TooSlow(reason)) => {
                    let had_whole_timeout = time == timeout;
                    quick = !quick;
                    let is_news = had_whole_timeout && self.answers.load(Ordering::Relaxed);
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

/// The reason why an attempt has no name.
enum NameError {
    /// The driver cannot be connected to. The probes log that.
    NotConnected,
    /// The driver, or the lookup of its host, took too long.
    TooSlow(String),
    /// The driver returned an error or an empty name.
    Unusable(String),
}

impl From<ConnectError> for NameError {
    fn from(error: ConnectError) -> NameError {
        match error.reason {
            Reason::TimedOut | Reason::QueueFull => NameError::TooSlow(error.to_string()),
            _ => NameError::NotConnected,
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
    let connection = csi::connect_if_there(address, deadline.at())?;
    let calling = Instant::now();
    let reply = caller.call(
        &GET_PLUGIN_INFO,
        &GetPluginInfoRequest::new(),
        connection,
        address,
        deadline,
        CallLimits::SHORT,
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
