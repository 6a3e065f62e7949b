//! Owns what a seed means: which rollouts are started when, how the deployments behave, and how much goes wrong.
//!
//! Each seed switches whole kinds of trouble on or off, so that some runs are almost quiet and others have only one kind of
//! trouble, but much of it.

use std::collections::BTreeMap;

use convex_emulator::Scenario;
use convex_emulator::scenario::{Change, TaskOutcome, Throw};
use convex_emulator::value::Value;
use jiff::{SignedDuration, Timestamp};
use rollout_engine::NewRollout;

use crate::calls::Habits;
use crate::dice::Dice;
use crate::plans::{self, Flavour, HEALTH, PRECONDITION};
use crate::sources::{self, Reads};

/// Everything that is decided before a run begins.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    pub(crate) kind: Kind,
    pub(crate) deployments: Vec<Site>,
    /// What is started, and when after the beginning.
    pub(crate) starts: Vec<(SignedDuration, NewRollout)>,
    pub(crate) trouble: Trouble,
    /// How long trouble goes on; then faults stop, and every rollout must come to its end.
    pub(crate) trouble_lasts: SignedDuration,
    /// Longest time without a process.
    pub(crate) downtime_max: SignedDuration,
    /// Longest time between two visits of the diligent one, in minutes.
    pub(crate) visits_max: i64,
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything may happen; the invariants are checked.
    Trouble,
    /// Run twice, without crashes and with instant ones; both must end alike.
    Twins,
}

/// A deployment.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) name: String,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) scenario: Scenario,
    /// How its app is used, where a plan reads that.
    pub(crate) habits: Option<Habits>,
}

/// How much goes wrong, in percent or in times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble {
    /// Of all requests: refused, lost, late, garbled …
    pub(crate) requests: u32,
    /// Stretches in which a deployment fails every request in the same way.
    pub(crate) outages: i64,
    /// Stretches in which the key is refused.
    pub(crate) revoked_keys: i64,
    /// The process dies at a drawn moment.
    pub(crate) kills: i64,
    /// Of all commits: the process dies right before, in the middle, or right after.
    pub(crate) dead_commits: u32,
    /// Of all writes that land: the process dies before it hears of it.
    pub(crate) dead_writes: u32,
    /// Of all deaths: the power was cut, and what was not synced is gone.
    pub(crate) power_cuts: u32,
    /// Of all deaths: nothing runs for minutes to days.
    pub(crate) downtime: u32,
    /// Of all commits: the disk fails, in some way and for some time.
    pub(crate) bad_commits: u32,
    /// The engine goes on when its store fails; otherwise it ends, and its supervisor starts it again.
    pub(crate) survives: bool,
    /// Jumps of the wall clock.
    pub(crate) jumps: i64,
    /// The machine is suspended.
    pub(crate) sleeps: i64,
    /// Somebody else sets a flag.
    pub(crate) foreign_edits: i64,
    /// Of all writes: somebody else puts a flag back a moment later.
    pub(crate) rivals: u32,
    /// Somebody meddles with a flag of a rollout that is live, perhaps again and again.
    pub(crate) meddles: i64,
    /// Somebody pushes code.
    pub(crate) pushes: i64,
    /// Orders at random.
    pub(crate) orders: i64,
    /// Of all enablings that land late: somebody orders them back before.
    pub(crate) regrets: u32,
    /// Of all moments: the engine is busy, and finds what happened next together with this.
    pub(crate) busy: u32,
}

impl Script {
    /// What `seed` means.
    pub(crate) fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 1);
        let kind = if dice.chance(12) { Kind::Twins } else { Kind::Trouble };
        let flavour = if kind == Kind::Twins { Flavour::Steady } else { Flavour::Any };
        let names: &[&str] = if dice.chance(25) { &["alpha", "beta"] } else { &["alpha"] };
        // Dice of their own: what the others draw is what it was before these were drawn.
        let mut changes = Dice::new(seed, 4);
        let trouble = match kind {
            Kind::Trouble => draw_changes(&mut changes, draw_trouble(&mut dice)),
            Kind::Twins => Trouble { dead_commits: 6, dead_writes: 20, ..Trouble::default() },
        };
        let starts = draw_starts(&mut dice, &mut changes, names, flavour);
        let deployments = names.iter().map(|name| draw_site(&mut dice, name, kind)).collect();
        let trouble_lasts = dice.minutes(60, 3 * 24 * 60);
        let (downtime_max, visits_max) = (SignedDuration::MAX, i64::MAX);
        let script = Self {
            seed,
            kind,
            deployments,
            starts,
            trouble,
            trouble_lasts,
            downtime_max,
            visits_max,
        };
        // Dice of their own again, thrown for what is complete without them.
        let mut calls = Dice::new(seed, 6);
        match kind == Kind::Trouble && calls.chance(CALLS_PERCENT) {
            true => script.with_calls(&mut calls),
            false => script,
        }
    }

    /// The same with plans that read calls, and people who call. Shorter, because a stream is asked every minute.
    fn with_calls(mut self, calls: &mut Dice) -> Self {
        let reads = Reads::draw(calls);
        self.trouble_lasts = self.trouble_lasts.min(calls.minutes(120, 480));
        self.downtime_max = SignedDuration::from_hours(4);
        self.visits_max = 13;
        for (at, new) in &mut self.starts {
            *at = SignedDuration::from_mins(at.as_mins() % 240);
            new.start_at = None;
            new.plan = sources::reading(&new.plan, reads, calls);
        }
        for site in &mut self.deployments {
            let habits = Habits::draw(calls, self.trouble_lasts, &self.trouble);
            site.habits = Some(if reads.metrics() { habits.without_pauses() } else { habits });
        }
        self
    }

    /// The same script with a process that never dies.
    pub(crate) fn without_crashes(&self) -> Self {
        Self { trouble: Trouble::default(), ..self.clone() }
    }
}

/// Of 100 seeds so many have plans that read calls.
const CALLS_PERCENT: u32 = 12;

/// The true time at which every run begins: a Sunday.
pub(crate) fn beginning() -> Timestamp {
    Timestamp::from_second(1_795_327_200).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn draw_trouble(dice: &mut Dice) -> Trouble {
    let crashes = dice.chance(65);
    let network = dice.chance(60);
    let mut count = |percent: u32, high: i64| {
        if dice.chance(percent) { dice.number(1, high) } else { 0 }
    };
    let (kills, jumps, sleeps) = (count(60, 4), count(25, 3), count(15, 2));
    let (foreign_edits, orders) = (count(20, 2), count(60, 12));
    let (outages, revoked_keys) = (count(40, 3), count(12, 1));
    let mut rate = |on: bool, rates: &[u32]| if on { dice.pick(rates) } else { 0 };
    Trouble {
        requests: rate(network, &[1, 3, 10, 30]),
        outages: if network { outages } else { 0 },
        revoked_keys: if network { revoked_keys } else { 0 },
        kills: if crashes { kills } else { 0 },
        dead_commits: rate(crashes, &[0, 0, 2, 5]),
        dead_writes: rate(crashes, &[0, 30, 60]),
        power_cuts: rate(crashes, &[0, 50, 100]),
        downtime: rate(crashes, &[0, 30, 80]),
        bad_commits: rate(crashes, &[0, 0, 1, 2, 5]),
        survives: dice.chance(70),
        jumps,
        sleeps,
        foreign_edits,
        rivals: if foreign_edits > 0 { dice.pick(&[0, 30, 80]) } else { 0 },
        orders,
        regrets: dice.pick(&[0, 80]),
        busy: dice.pick(&[0, 0, 10, 40]),
        meddles: 0,
        pushes: 0,
    }
}

/// What others change on the deployments.
fn draw_changes(changes: &mut Dice, trouble: Trouble) -> Trouble {
    let mut count = |percent: u32| if changes.chance(percent) { changes.number(1, 4) } else { 0 };
    let (meddles, pushes) = (count(25), count(25));
    Trouble { meddles, pushes, ..trouble }
}

fn draw_starts(
    dice: &mut Dice,
    changes: &mut Dice,
    names: &[&str],
    flavour: Flavour,
) -> Vec<(SignedDuration, NewRollout)> {
    let count = dice.pick(&[1, 1, 1, 2, 3]);
    let mut starts = Vec::new();
    for number in 0..count {
        let deployment = names[number % names.len()];
        let first_flag = if dice.chance(50) { 0 } else { number * 4 };
        let at = match (number, flavour) {
            (0, _) => SignedDuration::ZERO,
            (_, Flavour::Any) => dice.minutes(0, 36 * 60),
            // A second rollout on a deployment waits for the first one, and so would hang on seconds.
            (_, Flavour::Steady) if number >= names.len() => continue,
            (_, Flavour::Steady) => dice.minutes(1, 600),
        };
        let later = dice.chance(10).then(|| dice.minutes(1, 600));
        starts.push((
            at,
            NewRollout {
                plan: plans::draw(dice, changes, deployment, first_flag, flavour),
                digest: [u8::try_from(number).unwrap_or(0); 32],
                request_digest: [u8::try_from(number).unwrap_or(0); 32],
                url: url_of(deployment),
                start_at: later.map(|later| beginning() + at + later),
                actor: "ada".into(),
                reason: "simulated".into(),
                idempotency_key: (dice.chance(70) || flavour == Flavour::Steady)
                    .then(|| format!("start-{number}")),
            },
        ));
    }
    starts
}

/// Where a deployment answers.
pub(crate) fn url_of(deployment: &str) -> String {
    format!("http://{deployment}.example")
}

fn draw_site(dice: &mut Dice, name: &str, kind: Kind) -> Site {
    let mut env = BTreeMap::new();
    if dice.chance(70) {
        env.insert(PRECONDITION.to_owned(), "https://logs.example".to_owned());
    }
    for number in 0..4 {
        if dice.chance(30) {
            env.insert(format!("FLAG_{number}"), "false".to_owned());
        }
    }
    let mut changes = Vec::new();
    for number in 0..4 {
        if dice.chance(18) {
            changes.push(flag_hurts(dice, number, kind));
        }
    }
    if kind == Kind::Trouble {
        for _ in 0..dice.pick(&[0, 0, 1, 2]) {
            changes.push(something_happens(dice));
        }
    }
    let tasks = [("smoke".to_owned(), TaskOutcome::Failed)];
    let tasks = tasks.into_iter().filter(|_| dice.chance(15)).collect();
    let scenario = Scenario { changes, tasks, ..Scenario::default() };
    Site { name: name.to_owned(), env, scenario, habits: None }
}

/// A flag that does harm, some time after it was turned on.
fn flag_hurts(dice: &mut Dice, number: usize, kind: Kind) -> Change {
    let when = [(format!("FLAG_{number}"), "true".to_owned())].into();
    // Half a minute off the grid of the checks: a comparison of twins must not hang on seconds.
    let soon = if kind == Kind::Twins { 4 } else { 600 };
    let after = dice.minutes(0, soon) + SignedDuration::from_secs(30);
    let lasts = (kind == Kind::Trouble && dice.chance(60)).then(|| dice.minutes(1, 180));
    let (field, value) = dice.pick(&[
        ("errorRate", 7.0),
        ("errorRate", 5.01),
        ("errorRate", 100.0),
        ("completionRate", 80.0),
        ("stuckWorkflows", 9.0),
    ]);
    let fields = [(field.to_owned(), Some(Value::Float(value)))].into();
    Change { when, after, lasts, fields, ..Change::default() }
}

/// Health that is strange or bad for a while, whatever the flags are.
fn something_happens(dice: &mut Dice) -> Change {
    let after = dice.minutes(0, 2 * 24 * 60);
    let lasts = Some(dice.minutes(1, 300));
    let field = dice.pick(&["errorRate", "errorRate", "completionRate", "stuckWorkflows"]);
    let value = match dice.number(0, 8) {
        0 => None,
        1 => Some(Value::Null),
        2 => Some(Value::Float(f64::NAN)),
        3 => Some(Value::text("0.4")),
        4 => Some(Value::Float(2.0)),
        5 => Some(Value::Float(f64::INFINITY)),
        6 => Some(Value::Float(-1.0)),
        _ => Some(Value::Float(60.0)),
    };
    let throw = dice.chance(25).then(|| Throw {
        function: HEALTH.to_owned(),
        message: "simulated".to_owned(),
        error_value: dice.chance(50).then(|| Value::text("simulated")),
    });
    Change { after, lasts, fields: [(field.to_owned(), value)].into(), throw, ..Change::default() }
}
