//! Owns what people do with the apps of the simulated deployments: calls that truly end there, well or not, in
//! storms, floods and quiet hours; and what becomes of the servers that remember them. The truth goes into
//! [`crate::book`].

use convex_emulator::completion::{Caller, UdfType};
use convex_emulator::{InjectedExecutions, RunState};
use jiff::SignedDuration;

use crate::book::{Ended, TrueCall};
use crate::dice::Dice;
use crate::net::Fate;
use crate::script::{Trouble, beginning};
use crate::world::{Happening, World};

/// The function that most calls are about, and that flags can hurt.
pub(crate) const SEND: &str = "messages:send";
/// A function that is called now and then.
pub(crate) const LIST: &str = "messages:list";
/// One that nobody calls but the clock.
const SWEEP: &str = "jobs:sweep";

/// How the app of one deployment is used, and what befalls it. Times count from the beginning of the run.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    /// Mean time between two moments with calls.
    gap: SignedDuration,
    /// Most calls of one moment.
    many: i64,
    /// Of 100 calls so many fail, whatever the flags are.
    errors: u32,
    hurts: Vec<Hurt>,
    /// Times in which many calls fail, whatever the flags are.
    storms: Vec<(Stretch, u32)>,
    /// Times without calls.
    quiet: Vec<Stretch>,
    /// More calls at one moment than the server remembers.
    floods: Vec<SignedDuration>,
    /// Its process is started again; cursors then lie behind by so many milliseconds.
    restarts: Vec<(SignedDuration, f64)>,
    pauses: Vec<Stretch>,
}

/// What befalls the app of a deployment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum InApp {
    /// Calls end.
    Calls,
    /// More calls end at once than the server remembers.
    Floods,
    /// The server is started again; its cursors then lie behind by so many milliseconds.
    Restarts(f64),
    /// It is paused for this long.
    Pauses(SignedDuration),
    /// It runs again.
    Resumes,
}

/// A flag that makes calls fail while it is on.
#[derive(Clone, Debug)]
struct Hurt {
    flag: String,
    after: SignedDuration,
    lasts: Option<SignedDuration>,
    percent: u32,
}

/// A stretch of time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    from: SignedDuration,
    lasts: SignedDuration,
}

impl Stretch {
    fn draw(dice: &mut Dice, within: SignedDuration, low: i64, high: i64) -> Self {
        Self { from: dice.minutes(0, within.as_mins()), lasts: dice.minutes(low, high) }
    }

    fn holds(self, elapsed: SignedDuration) -> bool {
        elapsed >= self.from && elapsed < self.from + self.lasts
    }
}

impl Habits {
    /// Draws them. What goes wrong does so `within` that time.
    pub(crate) fn draw(dice: &mut Dice, within: SignedDuration, trouble: &Trouble) -> Self {
        let mut often = |percent: u32, high: i64| {
            if dice.chance(percent) { dice.number(1, high) } else { 0 }
        };
        let (storms, quiet, restarts, pauses) =
            (often(35, 2), often(30, 2), often(25, 2), often(20, 1));
        // A flood is told anew after every failed request, and half a megabyte each time.
        let floods = if trouble.requests <= 3 { often(15, 1) } else { 0 };
        let hurts = (0..4).filter_map(|number| Hurt::draw(dice, number)).collect();
        let mut stretches = |count: i64, low: i64, high: i64| -> Vec<Stretch> {
            (0..count).map(|_| Stretch::draw(dice, within, low, high)).collect()
        };
        let (storms, quiet, pauses) =
            (stretches(storms, 5, 60), stretches(quiet, 20, 180), stretches(pauses, 2, 60));
        let storms = storms.into_iter().map(|storm| (storm, dice.pick(&[30, 60, 100]))).collect();
        let floods = (0..floods).map(|_| dice.minutes(0, within.as_mins())).collect();
        let restarts = (0..restarts)
            .map(|_| (dice.minutes(0, within.as_mins()), dice.pick(&[0.0, 0.0, 40_000.0])))
            .collect();
        Self {
            gap: SignedDuration::from_secs(dice.pick(&[60, 90, 120])),
            many: dice.pick(&[1, 2, 3]),
            errors: dice.pick(&[0, 0, 1, 2]),
            hurts,
            storms,
            quiet,
            floods,
            restarts,
            pauses,
        }
    }

    /// The same without what the deployment's own metrics cannot tell from failures.
    pub(crate) fn without_pauses(self) -> Self {
        Self { pauses: Vec::new(), ..self }
    }

    /// What happens when, the first calls among it.
    pub(crate) fn happenings(&self, deployment: &str) -> Vec<(SignedDuration, Happening)> {
        let app = |what| Happening::App(deployment.to_owned(), what);
        let floods = self.floods.iter().map(|at| (*at, app(InApp::Floods)));
        let restarts = self.restarts.iter().map(|(at, back)| (*at, app(InApp::Restarts(*back))));
        let pauses = self.pauses.iter();
        let pauses = pauses.map(|pause| (pause.from, app(InApp::Pauses(pause.lasts))));
        let first = (SignedDuration::ZERO, app(InApp::Calls));
        [first].into_iter().chain(floods).chain(restarts).chain(pauses).collect()
    }
}

impl Hurt {
    fn draw(dice: &mut Dice, number: usize) -> Option<Self> {
        let (hurts, soon) = (dice.chance(30), dice.pick(&[1, 30, 120]));
        let after = dice.minutes(0, soon);
        let lasts = dice.chance(60).then(|| dice.minutes(10, 120));
        let percent = dice.pick(&[40, 70, 100]);
        hurts.then(|| Self { flag: format!("FLAG_{number}"), after, lasts, percent })
    }
}

impl World {
    /// Whatever happens to the users of a deployment's app, or to its server.
    pub(crate) fn app_happens(&mut self, name: &str, what: InApp) {
        match what {
            InApp::Calls => self.calls_end(name),
            InApp::Floods => self.floods(name),
            InApp::Restarts(back_ms) => self.restarts(name, back_ms),
            InApp::Pauses(span) => {
                let until = self.now + span;
                self.set_run_state(name, RunState::Paused);
                self.observer.book(name).stopped_until = until;
                self.schedule(until, Happening::App(name.to_owned(), InApp::Resumes));
            }
            InApp::Resumes => self.set_run_state(name, RunState::Running),
        }
    }

    /// Some calls end, and the next ones are to come.
    fn calls_end(&mut self, name: &str) {
        let Some(habits) = self.habits_of(name) else { return };
        let gap = habits.gap.as_millis() as i64;
        // To the microsecond, so that hardly anything else happens at the same time.
        let wait = SignedDuration::from_micros(self.calls.number(gap * 200, gap * 1_800));
        let next = self.now + wait;
        self.schedule(next, Happening::App(name.to_owned(), InApp::Calls));
        let elapsed = self.now.duration_since(beginning());
        if !self.trouble_over && habits.quiet.iter().any(|quiet| quiet.holds(elapsed)) {
            return;
        }
        let storm = habits.storms.iter().filter(|(storm, _)| storm.holds(elapsed));
        let storm = storm.map(|(_, percent)| *percent).max();
        let storm = storm.filter(|_| !self.trouble_over).unwrap_or(habits.errors);
        let hurt = self.hurt(name, &habits);
        for _ in 0..self.calls.number(1, habits.many) {
            let (function, udf_type, caller) = match self.calls.number(0, 9) {
                0 => (SWEEP, UdfType::Mutation, Caller::Cron),
                1..=3 => (LIST, UdfType::Query, Caller::SyncWorker),
                _ => (SEND, UdfType::Mutation, Caller::SyncWorker),
            };
            let percent = if function == SEND { hurt.max(storm) } else { storm };
            let fails = self.calls.chance(percent);
            let took_ms = match self.calls.number(0, 29) {
                0 => self.calls.number(60_000, 600_000),
                _ => self.calls.number(5, 900),
            };
            self.call_ends(name, function, udf_type, caller, fails, took_ms);
        }
        self.wake_polls(name);
    }

    /// Of 100 calls of [`SEND`] so many fail because of flags that are on.
    fn hurt(&mut self, name: &str, habits: &Habits) -> u32 {
        let now = self.now;
        let Some(deployment) = self.deployments.get(name) else { return 0 };
        let mut worst = 0;
        for hurt in &habits.hurts {
            let key = (name.to_owned(), hurt.flag.clone());
            if deployment.env().get(&hurt.flag) != Some("true") {
                self.on_since.remove(&key);
                continue;
            }
            let since = *self.on_since.entry(key).or_insert(now);
            let on_for = now.duration_since(since);
            let is_over = hurt.lasts.is_some_and(|lasts| on_for >= hurt.after + lasts);
            if on_for >= hurt.after && !is_over {
                worst = worst.max(hurt.percent);
            }
        }
        worst
    }

    fn call_ends(
        &mut self,
        name: &str,
        function: &'static str,
        udf_type: UdfType,
        caller: Caller,
        fails: bool,
        took_ms: i64,
    ) {
        let now = self.now;
        let Some(deployment) = self.deployments.get_mut(name) else { return };
        let is_paused = deployment.run_state() != RunState::Running;
        if is_paused && caller == Caller::Cron {
            return;
        }
        let (how, error, took_ms) = match (is_paused, fails) {
            (true, _) => (Ended::Refused, Some(PAUSED), 0),
            (false, true) => (Ended::Failed, Some("Uncaught Error: simulated"), took_ms),
            (false, false) => (Ended::Well, None, took_ms),
        };
        let injected = InjectedExecutions {
            function: function.to_owned(),
            udf_type,
            caller,
            took_ms: took_ms as f64,
            error: error.map(str::to_owned),
            ..InjectedExecutions::default()
        };
        deployment.inject_executions(now, &[injected]);
        let logged = deployment.activity().log().pushed();
        let executed = now - SignedDuration::from_millis(took_ms);
        let caller = caller.as_str();
        let book = self.observer.book(name);
        book.add(TrueCall { function, caller, executed, ended: now, how });
        book.note_log(now, logged);
        self.note(|| format!("{name}: {function} ended {how:?} after {took_ms} ms"));
    }

    /// More calls at one moment than the server remembers.
    fn floods(&mut self, name: &str) {
        let now = self.now;
        let times = self.calls.number(1_001, 1_100);
        for _ in 0..times {
            self.call_ends(name, LIST, UdfType::Query, Caller::SyncWorker, false, 5);
        }
        self.observer.book(name).lost_at = now;
        self.wake_polls(name);
    }

    /// A deployment's process ends and begins again, which takes some seconds.
    fn restarts(&mut self, name: &str, back_ms: f64) {
        let now = self.now;
        let back = now + self.calls.millis(2_000, 30_000);
        self.cut_polls(name);
        let Some(deployment) = self.deployments.get_mut(name) else { return };
        deployment.restart(now, back_ms);
        let book = self.observer.book(name);
        book.restarted(now);
        book.note_fault(back);
        let away = self.outages.get(name).is_some_and(|(until, _)| *until > back);
        if !away {
            self.outages.insert(name.to_owned(), (back, Fate::Refused));
        }
    }

    fn set_run_state(&mut self, name: &str, state: RunState) {
        if let Some(deployment) = self.deployments.get_mut(name) {
            deployment.set_run_state(state);
        }
    }

    fn habits_of(&self, name: &str) -> Option<Habits> {
        let site = self.script.deployments.iter().find(|site| site.name == name)?;
        site.habits.clone()
    }
}

/// What a paused deployment says.
const PAUSED: &str = "Cannot run functions while this deployment is paused. Resume the deployment in the dashboard settings to allow functions to run.";
