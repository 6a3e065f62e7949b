//! Owns the loop: what is due next happens, the engine goes on until it rests, the outsider checks, and so on until every
//! rollout is over.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rollout_core::{Order, RolloutId};
use rollout_engine::store::memory::MemoryDisk;

use crate::clock::SimClock;
use crate::invariants::invariant_6_crashes_change_nothing;
use crate::life::Life;
use crate::net::{Fate, InFlight, draw_fate};
use crate::operator::{self, Start};
use crate::script::{Kind, Script, beginning};
use crate::trace::{Detail, Digest, Trace};
use crate::world::{Happening, Shared, World};

/// What became of one seed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What is wrong, in words, and the last lines before it; `None` = nothing.
    pub failure: Option<Failure>,
    /// The digest of all that was recorded and sent.
    pub digest: Digest,
    /// Events recorded.
    pub events: u64,
    /// Processes started.
    pub lives: u64,
    /// Things that happened one after the other; the checks ran after each.
    pub steps: u64,
    /// Calls of the deployments' own functions, where plans read those.
    pub calls: u64,
    /// Simulated time.
    pub simulated: SignedDuration,
}

/// A check that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The invariant and what is wrong.
    pub why: String,
    /// What happened last, if it was written down.
    pub lines: Vec<String>,
}

/// How a run ended, for the comparison of twins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) stands: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) writes: Vec<(String, String, Option<String>)>,
}

/// Runs one seed.
pub fn run(seed: u64, detail: Detail) -> Report {
    let script = Script::draw(seed);
    if script.kind == Kind::Trouble {
        return Sim::new(script, detail).run().0;
    }
    let (quiet, quiet_end) = Sim::new(script.without_crashes(), detail).run();
    if quiet.failure.is_some() {
        return quiet;
    }
    let (mut report, end) = Sim::new(script, detail).run();
    if report.failure.is_none()
        && let Err(why) = invariant_6_crashes_change_nothing(&quiet_end, &end)
    {
        report.failure = Some(Failure { why, lines: Vec::new() });
    }
    report
}

struct Sim {
    world: Shared,
    clock: Arc<SimClock>,
    disk: MemoryDisk,
    life: Option<Life>,
    /// Until when the machine is suspended.
    asleep_until: Option<Timestamp>,
    /// Since when the engine could have done something: its last start, or the end of the machine's last sleep.
    awake_since: Timestamp,
    clock_woke: Timestamp,
    lives: u64,
    steps: u64,
    visits_every: i64,
}

impl Sim {
    fn new(script: Script, detail: Detail) -> Self {
        let mut world = World::new(script, Trace::new(detail));
        let visits_every = operator::visits_every(&mut world.dice).min(world.script.visits_max);
        plan_trouble(&mut world);
        let now = beginning();
        Self {
            world: Shared::new(world),
            clock: Arc::new(SimClock::at(now)),
            disk: MemoryDisk::new(),
            life: None,
            asleep_until: None,
            awake_since: now,
            clock_woke: now,
            lives: 0,
            steps: 0,
            visits_every,
        }
    }

    fn run(mut self) -> (Report, End) {
        self.boot();
        let mut why = None;
        while why.is_none() && !self.is_over() {
            self.step();
            why = self.failure();
        }
        let why = why.or_else(|| self.world.lock().truth_at_the_end().err());
        // Whatever still runs ends here; nobody looks any more.
        self.life = None;
        let world = self.world.lock();
        let failure = why.map(|why| Failure { why, lines: world.trace.lines() });
        let report = Report {
            seed: world.script.seed,
            failure,
            digest: world.digest,
            events: world.observer.events,
            lives: self.lives,
            steps: self.steps,
            calls: world.observer.calls(),
            simulated: world.now.duration_since(beginning()),
        };
        (report, world.end())
    }

    fn failure(&self) -> Option<String> {
        let mut world = self.world.lock();
        if self.life.is_some() && self.asleep_until.is_none() {
            world.observer.tick();
        }
        if let Some(why) = world.observer.failure() {
            return Some(why.to_owned());
        }
        if self.steps > STEPS_MAX {
            return Some(format!("liveness: {STEPS_MAX} steps, and no end; it spins"));
        }
        let late = world.now.duration_since(beginning()) > world.script.trouble_lasts + REST_MAX;
        late.then(|| format!("liveness: {REST_MAX:#} after the last fault: {}", world.unfinished()))
    }

    fn is_over(&self) -> bool {
        let world = self.world.lock();
        let all = world.starts.iter().all(|start| *start != Start::Open);
        let rested = world.observer.views.values().all(|view| {
            view.ended.is_some()
                && view.rolling.is_none()
                && view.incidents.values().all(|incident| incident.resolved)
        });
        // An engine that is down or asleep has not looked yet.
        let awake = self.life.is_some() && self.asleep_until.is_none();
        let last = world.observer.last_event_at().max(self.awake_since);
        all && awake
            && rested
            && world.requests.values().all(InFlight::is_poll)
            && world.now.duration_since(last) > AFTERMATH
    }

    /// Lets the next thing happen.
    fn step(&mut self) {
        self.steps += 1;
        let wanted = self.wanted();
        let due = self.world.lock().queue.first_key_value().map(|((at, _), _)| *at);
        let (wakes, timer) = (self.asleep_until, self.next_timer());
        let soonest = [wanted, due, wakes, timer].into_iter().flatten().min();
        let Some(at) = soonest else {
            let why = "liveness: nothing is due, and not everything is over".to_owned();
            self.world.lock().observer.require(Err(why));
            return;
        };
        self.pass_to(at);
        if wakes.is_some_and(|wakes| wakes <= at) {
            self.asleep_until = None;
            self.awake_since = at;
            self.clock.wake();
        } else if due.is_some_and(|due| due <= at) {
            let popped = self.world.lock().queue.pop_first();
            if let Some((_, what)) = popped {
                self.happen(what);
            }
        } else if timer.is_some_and(|timer| timer <= at) {
            self.clock.ring();
        } else {
            self.clock_woke = at;
            self.clock.wake();
        }
        if !self.is_busy() {
            self.settle();
        }
    }

    /// True when the engine has no time for what just happened before the next thing does.
    fn is_busy(&self) -> bool {
        let mut world = self.world.lock();
        let percent = world.script.trouble.busy;
        let busy = world.is_troubled() && world.dice.chance(percent);
        let next = world.queue.first_key_value().map(|((at, _), _)| *at);
        busy && next.is_some_and(|at| at.duration_since(world.now) <= BUSY_MAX)
    }

    /// When the engine is to be woken. Timers of a real system are late by a little; a steady time that runs slow is looked
    /// at again and again.
    fn wanted(&self) -> Option<Timestamp> {
        if self.life.is_none() || self.asleep_until.is_some() {
            return None;
        }
        Some(self.clock.wanted()?.max(self.clock_woke + SignedDuration::from_millis(20)))
    }

    /// When somebody beside the engine has waited long enough. A machine that is suspended counts no time.
    fn next_timer(&self) -> Option<Timestamp> {
        self.life.as_ref().filter(|_| self.asleep_until.is_none())?;
        self.clock.next_timer()
    }

    fn pass_to(&mut self, at: Timestamp) {
        let mut world = self.world.lock();
        let passed = at.duration_since(world.now).max(SignedDuration::ZERO);
        world.now = world.now.max(at);
        world.observer.now = world.now;
        match self.asleep_until {
            Some(_) => self.clock.sleep_to(at),
            None => self.clock.pass_to(at),
        }
        world.observer.wall = self.clock.wall();
        if self.life.is_some() && self.asleep_until.is_none() {
            world.observer.uptime += passed;
        }
    }

    fn settle(&mut self) {
        let Some(life) = self.life.as_ref().filter(|_| self.asleep_until.is_none()) else { return };
        life.settle();
        if life.is_dead() {
            self.die();
        } else if life.has_panicked() {
            let why = "the engine panicked".to_owned();
            self.world.lock().observer.require(Err(why));
        } else if let Some(why) = life.ended() {
            self.world.lock().note(|| format!("the process ended: {why}"));
            self.die();
        }
    }

    fn happen(&mut self, what: Happening) {
        let mut world = self.world.lock();
        if !matches!(what, Happening::Lands(_) | Happening::Arrives(_) | Happening::GivesUp(_)) {
            world.note(|| format!("--- {what:?}"));
        }
        match what {
            Happening::Lands(number) => {
                let wrote = world.lands(number);
                let percent = world.script.trouble.dead_writes;
                if wrote && !world.trouble_over && world.dice.chance(percent) {
                    drop(world);
                    self.die();
                }
            }
            Happening::Arrives(number) => world.arrives(number),
            Happening::GivesUp(number) => world.gives_up(number),
            Happening::Starts(place) => {
                drop(world);
                self.starts(place);
            }
            Happening::Orders => {
                let order = operator::random_order(&mut world);
                drop(world);
                self.orders(order);
            }
            Happening::Visits => {
                drop(world);
                self.visits();
            }
            Happening::Dies => {
                drop(world);
                self.die();
            }
            Happening::Boots => {
                drop(world);
                if self.life.is_none() {
                    self.boot();
                }
            }
            Happening::Jumps(by) => {
                world.observer.clock_was_set(by, self.life.is_some());
                drop(world);
                self.clock.jump(by);
            }
            Happening::Sleeps(span) => {
                let until = world.now + span;
                drop(world);
                if self.life.is_some() {
                    self.asleep_until = Some(until);
                }
            }
            what @ (Happening::Edits
            | Happening::Meddles
            | Happening::Pushes
            | Happening::Rival(..)) => world.others_change(what),
            Happening::App(name, what) => world.app_happens(&name, what),
            Happening::Regrets(id) => {
                let order = operator::regret(&mut world, id);
                drop(world);
                self.orders(Some(order));
            }
            Happening::Outage(fate, span) => world.goes_away(fate, span),
            Happening::Heals => self.disk.heal(),
            Happening::TroubleEnds => {
                world.trouble_over = true;
                world.outages.clear();
                self.disk.heal();
            }
        }
    }

    fn orders(&mut self, order: Option<(RolloutId, Order)>) {
        if let (Some((id, order)), Some(life)) = (order, &self.life) {
            let world = self.world.clone();
            life.beside(move |handle| {
                Box::pin(async move { operator::order(&world, &handle, id, order).await })
            });
        }
    }

    fn visits(&mut self) {
        let mut world = self.world.lock();
        let again = world.now + SignedDuration::from_mins(self.visits_every);
        world.schedule(again, Happening::Visits);
        drop(world);
        // Whoever finds the machine asleep comes again later.
        if let Some(life) = self.life.as_ref().filter(|_| self.asleep_until.is_none()) {
            let world = self.world.clone();
            life.beside(move |handle| Box::pin(operator::visit(world, handle)));
        }
    }

    fn starts(&mut self, place: usize) {
        let mut world = self.world.lock();
        if world.starts[place] != Start::Open {
            return;
        }
        let again = world.now + SignedDuration::from_mins(97);
        world.schedule(again, Happening::Starts(place));
        let new = world.script.starts[place].1.clone();
        drop(world);
        if let Some(life) = &self.life {
            let world = self.world.clone();
            life.beside(move |handle| Box::pin(operator::start(world, handle, place, new)));
        }
    }

    /// The process is gone, from one instruction to the next.
    fn die(&mut self) {
        self.asleep_until = None;
        if self.life.take().is_none() {
            return;
        }
        self.clock.forget();
        let mut world = self.world.lock();
        let (cut, down) = (world.script.trouble.power_cuts, world.script.trouble.downtime);
        let cut = world.dice.chance(cut);
        let down = world.dice.chance(down);
        world
            .note(|| format!("the process is dead{}", if cut { "; the power is cut" } else { "" }));
        if cut {
            self.disk.cut_power();
        }
        let span = match (down, world.is_steady()) {
            (_, true) => SignedDuration::ZERO,
            // Its supervisor tries again, and again.
            _ if self.disk.is_broken() => SignedDuration::from_mins(5),
            (true, false) => world.dice.any_span().min(world.script.downtime_max),
            (false, false) => world.dice.millis(0, 3_000),
        };
        let at = world.now + span;
        world.schedule(at, Happening::Boots);
    }

    fn boot(&mut self) {
        self.lives += 1;
        self.clock_woke = self.world.lock().now;
        self.awake_since = self.clock_woke;
        self.life = Some(Life::start(&self.world, &self.clock, &self.disk));
        self.world.lock().observer.awake();
        self.settle();
    }
}

/// Puts into the future what the script says.
fn plan_trouble(world: &mut World) {
    let script = world.script.clone();
    let begin = beginning();
    for (place, (at, _)) in script.starts.iter().enumerate() {
        world.schedule(begin + *at, Happening::Starts(place));
    }
    world.schedule(begin + SignedDuration::from_mins(7), Happening::Visits);
    let last = match script.kind {
        Kind::Twins => SignedDuration::from_hours(24 * 7),
        Kind::Trouble => script.trouble_lasts,
    };
    world.schedule(begin + last, Happening::TroubleEnds);
    for site in &script.deployments {
        for (at, what) in site.habits.iter().flat_map(|habits| habits.happenings(&site.name)) {
            world.schedule(begin + at, what);
        }
    }
    let trouble = &script.trouble;
    let secs = script.trouble_lasts.as_secs();
    let mut often = |count: i64, what: &mut dyn FnMut(&mut World) -> Happening| {
        for _ in 0..count {
            let at = begin + SignedDuration::from_millis(world.dice.number(0, secs * 1_000));
            let what = what(world);
            world.schedule(at, what);
        }
    };
    often(trouble.kills, &mut |_| Happening::Dies);
    often(trouble.orders, &mut |_| Happening::Orders);
    often(trouble.foreign_edits, &mut |_| Happening::Edits);
    often(trouble.jumps, &mut |world| {
        let sign = if world.dice.chance(50) { 1 } else { -1 };
        let minutes = world.dice.pick(&[1, 10, 60, 180, 600, 3_000]);
        Happening::Jumps(SignedDuration::from_mins(sign * minutes))
    });
    often(trouble.sleeps, &mut |world| Happening::Sleeps(world.dice.any_span()));
    often(trouble.outages, &mut |world| {
        let fate = draw_fate(&mut world.dice);
        Happening::Outage(fate, world.dice.any_span())
    });
    often(trouble.revoked_keys, &mut |world| {
        Happening::Outage(Fate::BadKey, world.dice.any_span())
    });
    let changes = [(trouble.meddles, Happening::Meddles), (trouble.pushes, Happening::Pushes)];
    for (count, what) in changes {
        for _ in 0..count {
            // Most windows are open in the first hours.
            let soon = secs.min(world.changes.pick(&[6, 24, 72]) * 3_600);
            let at = begin + SignedDuration::from_millis(world.changes.number(0, soon * 1_000));
            world.schedule(at, what.clone());
        }
    }
}

/// By then everything must be over, once faults have stopped.
const REST_MAX: SignedDuration = SignedDuration::from_hours(60 * 24);
/// What is looked at after the last event: a late write must not undo a rollback.
const AFTERMATH: SignedDuration = SignedDuration::from_mins(20);
/// Longest time that one turn of the engine takes.
const BUSY_MAX: SignedDuration = SignedDuration::from_millis(500);
/// More steps than any seed needs.
const STEPS_MAX: u64 = 400_000;
