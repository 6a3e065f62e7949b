//! The outside of these tests: one deployment in memory, and a clock that skips whatever nobody works in.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use rollout_core::{
    Effect, Fault, FaultClass, FlagName, Measured, Measurement, Outcome, PendingEffect,
    ProbeAnswer, ProbeState, Reading,
};

use crate::clock::{Clock, Moment};
use crate::effects::{Perform, Performing};

/// A deployment: what is set, and every write that changed something.
#[derive(Clone, Default)]
pub(super) struct Deployment {
    inner: Arc<Mutex<Inner>>,
    busy: Arc<AtomicUsize>,
    times: usize,
}

/// Says whether it is dark at the moment.
type IsDark = Box<dyn Fn() -> bool + Send>;

#[derive(Default)]
struct Inner {
    env: BTreeMap<FlagName, String>,
    writes: Vec<(FlagName, String)>,
    errors: BTreeMap<usize, f64>,
    readings: usize,
    is_dark: Option<IsDark>,
    in_the_dark: Vec<(FlagName, String)>,
    /// Whether writes are refused.
    refuses: bool,
}

impl Deployment {
    /// Performs each effect this many times and answers with the last outcome, as after a crash before it was recorded.
    pub(super) fn repeating(times: usize) -> Self {
        Self { times, ..Self::default() }
    }

    /// From the `nth` reading on, the error rate is this.
    pub(super) fn errors_from(&self, nth: usize, rate: f64) {
        self.lock().errors.insert(nth, rate);
    }

    /// How many readings were taken.
    pub(super) fn readings(&self) -> usize {
        self.lock().readings
    }

    /// Keeps apart what is written while `is_dark` says so.
    pub(super) fn watch_writes(&self, is_dark: impl Fn() -> bool + Send + 'static) {
        self.lock().is_dark = Some(Box::new(is_dark));
    }

    pub(super) fn writes_in_the_dark(&self) -> Vec<(FlagName, String)> {
        self.lock().in_the_dark.clone()
    }

    pub(super) fn env(&self) -> BTreeMap<FlagName, String> {
        self.lock().env.clone()
    }

    pub(super) fn writes(&self) -> Vec<(FlagName, String)> {
        self.lock().writes.clone()
    }

    /// A clock that stands still while this deployment works, and otherwise jumps to what is waited for.
    pub(super) fn clock(&self, start: Timestamp) -> Arc<dyn Clock> {
        let moment = Mutex::new(Moment { wall: start, elapsed: SignedDuration::ZERO });
        Arc::new(SkippingClock { moment, busy: Arc::clone(&self.busy) })
    }

    /// From now on no write lands, or again each does.
    pub(super) fn refuse(&self, refuses: bool) {
        self.lock().refuses = refuses;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, effect: &Effect) -> Outcome {
        let mut inner = self.lock();
        match effect {
            Effect::SetFlags { .. } if inner.refuses => {
                Outcome::failed(Fault::new(FaultClass::Transient, None, "down"))
            }
            Effect::SetFlags { changes, .. } => {
                let (already, wrote): (Vec<_>, Vec<_>) = changes
                    .keys()
                    .cloned()
                    .partition(|flag| inner.env.get(flag) == changes.get(flag));
                for flag in &wrote {
                    inner.env.insert(flag.clone(), changes[flag].clone());
                    inner.writes.push((flag.clone(), changes[flag].clone()));
                    if inner.is_dark.as_ref().is_some_and(|is_dark| is_dark()) {
                        inner.in_the_dark.push((flag.clone(), changes[flag].clone()));
                    }
                }
                Outcome::FlagsSet { wrote, already }
            }
            Effect::Observe(wanted) => {
                inner.readings += 1;
                let rate = inner
                    .errors
                    .range(..=inner.readings)
                    .next_back()
                    .map_or(0.1, |(_, rate)| *rate);
                let flags =
                    wanted.flags.iter().map(|flag| (flag.clone(), inner.env.get(flag).cloned()));
                let metrics = wanted.sources.iter().flat_map(|source| &source.metrics);
                let measurements = metrics
                    .map(|metric| Measurement::of(&metric.criterion, Measured::Number(rate)));
                let probes = wanted.probes.iter().map(|probe| ProbeAnswer {
                    probe: probe.name.clone(),
                    state: ProbeState::Met,
                    found: "true".into(),
                });
                let (measurements, probes) = (measurements.collect(), probes.collect());
                Outcome::Observed(Reading::of(Ok(flags.collect()), measurements, probes))
            }
            Effect::Invoke { .. } | Effect::FindChangeWindow { .. } => {
                panic!("these plans ask for none")
            }
        }
    }
}

impl Perform for Deployment {
    fn perform(&self, effect: PendingEffect) -> Performing {
        let deployment = self.clone();
        self.busy.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let mut outcome = deployment.answer(&effect.effect);
            for _ in 1..deployment.times {
                outcome = deployment.answer(&effect.effect);
            }
            deployment.busy.fetch_sub(1, Ordering::SeqCst);
            outcome
        })
    }
}

struct SkippingClock {
    moment: Mutex<Moment>,
    busy: Arc<AtomicUsize>,
}

/// Turns given to other tasks before time moves: more than an effect needs from its start to its outcome.
const TURNS: usize = 64;

impl Clock for SkippingClock {
    fn moment(&self) -> Moment {
        *self.moment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, at: Option<Timestamp>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            let Some(at) = at.filter(|_| self.busy.load(Ordering::SeqCst) == 0) else {
                return;
            };
            let mut moment = self.moment.lock().unwrap_or_else(PoisonError::into_inner);
            let by = at.duration_since(moment.wall).max(SignedDuration::ZERO);
            moment.wall += by;
            moment.elapsed += by;
        })
    }
}
