//! Owns what an outsider sees: the commits as they become durable, the answers that people got, and what truly happened at
//! the deployments. Runs the checks of [`crate::invariants`] after every step and keeps the first that fails.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use rollout_core::{
    Effect, Event, EventKind, FlagName, PendingEffect, Purpose, RolloutId, WritePurpose,
};
use rollout_engine::store::record::decode_event;
use rollout_engine::store::{Append, Entry as StoredEntry};

use crate::book::Book;
use crate::changes::no_revert_while_held;
use crate::counts::{Around, Clocks, Lasting, invariant_4_failing_calls_roll_back};
use crate::invariants::{
    Check, Moment, event_checks, invariant_1_writes_follow_the_journal,
    invariant_4_a_rollback_goes_on, invariant_8_watching_never_stops,
    invariant_9_something_will_wake_it, promise_2_a_breach_in_the_dark_is_rolled_back,
    promise_2_in_the_dark_only_safe_values_are_written, promise_smoke_runs_once, shows_breach,
};
use crate::net::Shown;
use crate::script::{Script, beginning};
use crate::view::View;

/// The outsider.
pub(crate) struct Observer {
    pub(crate) views: BTreeMap<RolloutId, View>,
    /// For how long an engine has run, over all its lives.
    pub(crate) uptime: SignedDuration,
    /// That, when the process that runs was started.
    up_since: SignedDuration,
    /// True time.
    pub(crate) now: Timestamp,
    /// What the machine's wall clock shows.
    pub(crate) wall: Timestamp,
    clocks: Clocks,
    /// The clock was set, and no journal tells it yet.
    jumped: bool,
    /// What truly ran at the deployments, and how they could be reached.
    books: BTreeMap<String, Book>,
    /// Breaches that a stream shows.
    lasting: BTreeMap<RolloutId, Lasting>,
    /// When a write of a rollout last changed something.
    landed: BTreeMap<RolloutId, Timestamp>,
    /// What readings were truly answered with, by effect key.
    shown: BTreeMap<String, Vec<Shown>>,
    /// Writes that were begun, by effect key.
    begun: BTreeMap<String, BTreeMap<FlagName, String>>,
    /// Writes of which the adapter was told, by rollout, flag and time.
    own_writes: BTreeSet<(RolloutId, String, Timestamp)>,
    /// Flags as they truly are, and whether somebody else set them last.
    flags: BTreeMap<(String, String), (Option<String>, Hand)>,
    /// The store failed, and nothing is recorded until it is open again.
    dark: bool,
    /// When the store was last opened again without a new process.
    light_since: Timestamp,
    /// Rollouts that were shown a breach in the dark and have not begun to restore safe values, with the uptime of that.
    dark_breaches: BTreeMap<RolloutId, SignedDuration>,
    /// Rollouts whose flags were put back in this dark: what somebody else does to them from then on is drift.
    dark_restored: BTreeSet<RolloutId>,
    /// A batch of which nobody knows whether it was kept.
    in_doubt: Vec<Append>,
    /// When that was.
    /// That, and what the wall clock showed.
    doubted_at: (Timestamp, Timestamp),
    /// The longest journal that a person was told of, per rollout.
    acknowledged: BTreeMap<RolloutId, u64>,
    failure: Option<String>,
    changed_at: Timestamp,
    pub(crate) events: u64,
}

/// Who set a flag last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hand {
    Ours,
    Foreign,
    /// Ours, while nothing could be recorded: if the process dies before it can be, no journal tells of it.
    Unrecorded,
}

impl Observer {
    pub(crate) fn new(script: &Script) -> Self {
        let flags = script.deployments.iter().flat_map(|site| {
            let env = site.env.iter();
            env.map(|(name, value)| {
                ((site.name.clone(), name.clone()), (Some(value.clone()), Hand::Foreign))
            })
        });
        Self {
            views: BTreeMap::new(),
            uptime: SignedDuration::ZERO,
            up_since: SignedDuration::ZERO,
            now: beginning(),
            wall: beginning(),
            jumped: false,
            clocks: match (script.trouble.jumps, script.trouble.sleeps) {
                (0, 0) => Clocks::Right,
                _ => Clocks::Any,
            },
            books: BTreeMap::new(),
            lasting: BTreeMap::new(),
            landed: BTreeMap::new(),
            shown: BTreeMap::new(),
            begun: BTreeMap::new(),
            own_writes: BTreeSet::new(),
            flags: flags.collect(),
            dark: false,
            light_since: Timestamp::MIN,
            dark_breaches: BTreeMap::new(),
            dark_restored: BTreeSet::new(),
            in_doubt: Vec::new(),
            doubted_at: (Timestamp::MIN, Timestamp::MIN),
            acknowledged: BTreeMap::new(),
            failure: None,
            changed_at: Timestamp::MIN,
            events: 0,
        }
    }

    /// The first check that failed.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Keeps the first failure.
    pub(crate) fn require(&mut self, check: Check) {
        if let Err(why) = check {
            self.failure.get_or_insert(why);
        }
    }

    /// A batch became durable.
    pub(crate) fn committed(&mut self, now: Timestamp, batch: &[Append]) -> Vec<String> {
        self.changed_at = now;
        // One sync is for everything that was written before.
        self.views.values_mut().for_each(|view| view.on_disk = view.seq());
        let mut lines = Vec::new();
        for append in batch {
            lines.extend(self.append(append.rollout, append.after, &append.entries));
            if let Some(view) = self.views.get_mut(&append.rollout) {
                view.on_disk = view.seq();
            }
        }
        lines
    }

    /// A batch was tried, and nobody knows what became of it until the store is opened again.
    pub(crate) fn doubts(&mut self, batch: &[Append]) {
        self.in_doubt = batch.to_vec();
        self.doubted_at = (self.now, self.wall);
        self.dark = true;
    }

    /// The store was opened again and holds these journals.
    pub(crate) fn reopened(&mut self, journals: &BTreeMap<RolloutId, Vec<StoredEntry>>) {
        self.dark = false;
        self.dark_breaches.clear();
        self.dark_restored.clear();
        for (id, view) in &self.views {
            let found = journals.get(id).map(Vec::as_slice).unwrap_or_default();
            let same = found.len() as u64 >= view.on_disk
                && found.iter().zip(&view.payloads).all(|(entry, known)| entry.payload == *known);
            if !same {
                let told = self.acknowledged.get(id).copied().unwrap_or(0);
                let why = format!(
                    "invariant 5 (what was told is on disk): {id} had {} entries on disk (a person was told of {told}); {} are left",
                    view.on_disk,
                    found.len(),
                );
                self.failure.get_or_insert(why);
                return;
            }
        }
        self.forget_what_was_never_synced(journals);
        let more = |append: &&Append| {
            let found = journals.get(&append.rollout).map_or(0, Vec::len) as u64;
            found > append.after
        };
        let doubtful = std::mem::take(&mut self.in_doubt);
        let kept: Vec<Append> = doubtful.iter().filter(more).cloned().collect();
        if !kept.is_empty() && kept.len() != doubtful.len() {
            self.require(Err("store: a batch was kept in part".to_owned()));
        }
        // They are there to be read, but a power cut would still take them. What they tell was true when they were written.
        let moment = (self.now, self.wall);
        (self.now, self.wall) = self.doubted_at;
        for append in &kept {
            self.append(append.rollout, append.after, &append.entries);
        }
        (self.now, self.wall) = moment;
        for (id, found) in journals {
            let known = self.views.get(id).map_or(0, |view| view.payloads.len());
            if found.len() != known {
                let why = format!("store: {id} has {} entries, {known} were written", found.len());
                self.failure.get_or_insert(why);
            }
        }
        self.awake();
    }

    /// Takes back what was read after a crash, but never synced, and is gone after the next one. Nobody was told of it.
    fn forget_what_was_never_synced(&mut self, journals: &BTreeMap<RolloutId, Vec<StoredEntry>>) {
        let left = |id: &RolloutId| journals.get(id).map_or(0, Vec::len);
        let shorter: Vec<RolloutId> = self
            .views
            .iter()
            .filter(|(id, view)| left(id) < view.payloads.len())
            .map(|(id, _)| *id)
            .collect();
        for id in shorter {
            let Some(view) = self.views.remove(&id) else { continue };
            let known: Vec<_> = view.payloads.into_iter().take(left(&id)).collect();
            let uptime = self.uptime;
            for payload in known {
                let Ok(event) = decode_event(&payload) else { continue };
                if let Some(view) = self.views.get_mut(&id) {
                    view.follow(&event, payload);
                } else if let Some(mut view) = View::new(&event, uptime) {
                    view.follow(&event, payload);
                    self.views.insert(id, view);
                }
            }
            if let Some(rebuilt) = self.views.get_mut(&id) {
                rebuilt.on_disk = view.on_disk;
                rebuilt.creates_landed = view.creates_landed;
            }
        }
    }

    /// The store failed again.
    pub(crate) fn goes_dark(&mut self) {
        self.dark = true;
    }

    /// Whatever is there has been synced: the store was opened again by the process that goes on.
    pub(crate) fn synced(&mut self, now: Timestamp) {
        self.light_since = now;
        self.views.values_mut().for_each(|view| view.on_disk = view.seq());
    }

    /// The engine runs (again): what it has to do soon is counted from here.
    pub(crate) fn awake(&mut self) {
        let uptime = self.uptime;
        self.up_since = uptime;
        self.lasting.clear();
        if std::mem::take(&mut self.jumped) {
            self.forget_flips();
        }
        for view in self.views.values_mut() {
            view.read_at_uptime = uptime;
            view.tried_at_uptime = uptime;
            view.wrote_at_uptime = uptime;
            // A process follows a stream from its first question on.
            view.asked_since_flip = false;
            view.told_from = None;
        }
    }

    /// The clock was set. Where no process lives to record it, that is taken for downtime.
    pub(crate) fn clock_was_set(&mut self, by: SignedDuration, is_seen: bool) {
        self.wall += by;
        match is_seen {
            true => self.jumped = true,
            false => self.forget_flips(),
        }
    }

    /// Nobody can say any more when flags were set.
    fn forget_flips(&mut self) {
        self.landed.clear();
        for view in self.views.values_mut() {
            view.flip_landed = None;
            view.asked_flip.1 = None;
        }
    }

    fn append(&mut self, id: RolloutId, after: u64, payloads: &[Vec<u8>]) -> Vec<String> {
        let decoded: Result<Vec<Event>, _> =
            payloads.iter().map(|payload| decode_event(payload)).collect();
        let Ok(events) = decoded else {
            self.require(Err(format!("store: {id} has an entry that is no event")));
            return Vec::new();
        };
        let known = self.views.get(&id).map_or(0, View::seq);
        if known != after {
            self.require(Err(format!("store: {id} grows after {after}, but has {known} entries")));
            return Vec::new();
        }
        for (place, (event, payload)) in events.iter().zip(payloads).enumerate() {
            self.events += 1;
            let (before, after) = (&events[..place], &events[place + 1..]);
            let check = self.follow(id, event, payload, before, after);
            self.require(check);
        }
        events.iter().map(|event| format!("  {id} {:?}", event.kind)).collect()
    }

    fn follow(
        &mut self,
        id: RolloutId,
        event: &Event,
        payload: &[u8],
        before: &[Event],
        after: &[Event],
    ) -> Check {
        let uptime = self.uptime;
        let fresh = View::new(event, uptime);
        let is_new = !self.views.contains_key(&id);
        if is_new != fresh.is_some() {
            return Err(format!("journal: {id} does not begin with its creation"));
        }
        let Some(view) = self.views.get(&id).or(fresh.as_ref()) else { return Ok(()) };
        let key = view.asked.map(|(seq, _)| format!("{id}-s{seq}")).unwrap_or_default();
        let shown = self.shown.get(&key).map(Vec::as_slice).unwrap_or_default();
        let own_writes = &self.own_writes;
        let around = self.around(&view.plan.deployment);
        let now = around.now;
        let others = &self.views;
        let moment = Moment { view, others, event, before, after, shown, own_writes, around };
        let check = event_checks(&moment);
        let entry = self.views.entry(id);
        let view = match fresh {
            Some(fresh) => entry.or_insert(fresh),
            None => entry.or_insert_with(|| unreachable!("a rollout that is not new is known")),
        };
        self.jumped &= !matches!(event.kind, EventKind::ClockJumped { .. });
        view.follow(event, payload.to_vec());
        view.wrote_at_uptime = uptime;
        if let EventKind::ReadingTaken { reading, .. } = &event.kind
            && !reading.cursors.is_empty()
        {
            view.told_from.get_or_insert(now);
        }
        let knows_of_writes = matches!(
            event.kind,
            EventKind::FlagsSet { .. }
                | EventKind::FlagsRestored { .. }
                | EventKind::DriftReverted { .. }
        );
        if knows_of_writes {
            view.flip_landed = self.landed.get(&id).copied();
        }
        let reads =
            matches!(event.kind, EventKind::ReadingStarted { .. } | EventKind::ReadingTaken { .. });
        let tries = matches!(
            event.kind,
            EventKind::RollbackStarted { .. }
                | EventKind::ReadingTaken { purpose: Purpose::Recovery, .. }
        );
        if reads {
            view.read_at_uptime = uptime;
        }
        if tries {
            view.tried_at_uptime = uptime;
        }
        check
    }

    /// An effect is about to be performed.
    pub(crate) fn effect_begins(&mut self, now: Timestamp, effect: &PendingEffect) {
        let (id, seq) = (effect.key.rollout, effect.key.seq.get());
        let uptime = self.uptime;
        if let Some(view) = self.views.get_mut(&id) {
            view.tried_at_uptime = uptime;
            if matches!(effect.effect, Effect::Observe(_)) {
                view.read_at_uptime = uptime;
                view.asked_flip = (view.flipped_at, view.flip_landed);
            }
        }
        let on_disk = self.views.get(&id).is_some_and(|view| seq <= view.on_disk);
        // What was decided in the dark may begin in the very moment in which it becomes light.
        if self.dark || (now == self.light_since && !on_disk) {
            return self.effect_begins_in_the_dark(effect);
        }
        let key = effect.key.to_string();
        self.shown.remove(&key);
        match &effect.effect {
            Effect::SetFlags { changes, purpose } => {
                let view = self.views.get(&id);
                let check = invariant_1_writes_follow_the_journal(view, seq, changes, *purpose);
                let anew = !self.begun.contains_key(&key);
                let check = check.and_then(|()| no_revert_while_held(view, *purpose, anew));
                self.require(check);
                if *purpose == WritePurpose::RestoreSafe || self.failure.is_none() {
                    self.begun.insert(key, changes.clone());
                }
            }
            Effect::Observe(_) | Effect::Invoke { .. } | Effect::FindChangeWindow { .. } => {
                if !on_disk {
                    let why = format!("promise 1: {key} is performed before it is on disk");
                    self.require(Err(why));
                }
            }
        }
    }

    /// Nothing can be recorded: looking is allowed, and returning flags to safe values.
    fn effect_begins_in_the_dark(&mut self, effect: &PendingEffect) {
        let id = effect.key.rollout;
        let known = self.views.get(&id);
        let check = promise_2_in_the_dark_only_safe_values_are_written(known, effect);
        self.require(check);
        if let Effect::SetFlags { changes, .. } = &effect.effect {
            self.dark_breaches.remove(&id);
            self.dark_restored.insert(id);
            self.begun.insert(effect.key.to_string(), changes.clone());
        }
        self.shown.remove(&effect.key.to_string());
    }

    /// An answer reached the adapter.
    pub(crate) fn was_shown(&mut self, _now: Timestamp, key: &str, shown: Shown) {
        let id = key.split_once("-s").and_then(|(id, _)| id.parse::<RolloutId>().ok());
        if let (true, Some(id), Shown::Health(fields)) = (self.dark, id, &shown)
            && let Some(view) = self.views.get(&id)
            && shows_breach(view, fields)
            && view.rolling.is_none()
            && !self.dark_restored.contains(&id)
            && self.any_flag_on(view)
        {
            self.dark_breaches.entry(id).or_insert(self.uptime);
        }
        self.shown.entry(key.to_owned()).or_default().push(shown);
    }

    /// The adapter was told that a rollout wrote this. What is written in the dark no later process can know.
    pub(crate) fn wrote(&mut self, by: RolloutId, wrote: BTreeMap<String, Timestamp>) {
        if self.dark {
            return;
        }
        self.own_writes.extend(wrote.into_iter().map(|(name, at)| (by, name, at)));
    }

    /// The smoke test's function is called.
    pub(crate) fn creates(&mut self, _deployment: &str, key: &str) {
        let id = key.split_once("-s").and_then(|(id, _)| id.parse::<RolloutId>().ok());
        let Some(view) = id.and_then(|id| self.views.get_mut(&id)) else {
            return self.require(Err(format!("smoke: {key} is of no rollout")));
        };
        view.creates_landed += 1;
        let check = promise_smoke_runs_once(view);
        self.require(check);
    }

    /// A flag truly changed.
    pub(crate) fn flag_changed(
        &mut self,
        now: Timestamp,
        deployment: &str,
        name: &str,
        value: Option<String>,
        key: Option<String>,
    ) {
        self.changed_at = now;
        let hand = match key {
            None => Hand::Foreign,
            Some(_) if self.dark => Hand::Unrecorded,
            Some(_) => Hand::Ours,
        };
        if let Some(key) = key {
            if let Some(id) = key.split_once("-s").and_then(|(id, _)| id.parse().ok()) {
                self.landed.insert(id, now);
            }
            let wanted = self.begun.get(&key).and_then(|changes| {
                let found = changes.iter().find(|(flag, _)| flag.as_str() == name);
                found.map(|(_, wanted)| wanted.clone())
            });
            if wanted != value {
                let why = format!("invariant 1 (writes): {key} set {name} to {value:?} unasked");
                self.require(Err(why));
            }
        }
        self.flags.insert((deployment.to_owned(), name.to_owned()), (value, hand));
    }

    /// The true value of a flag and who set it last.
    pub(crate) fn flag(&self, deployment: &str, name: &str) -> (Option<&str>, Hand) {
        let known = self.flags.get(&(deployment.to_owned(), name.to_owned()));
        known.map_or((None, Hand::Ours), |(value, hand)| (value.as_deref(), *hand))
    }

    /// A person was told that these entries are kept.
    pub(crate) fn acknowledged(&mut self, id: RolloutId, seq: u64, what: &str) {
        let on_disk = self.views.get(&id).map_or(0, |view| view.on_disk);
        if on_disk < seq {
            let why = format!(
                "invariant 5 (what was told is on disk): {what} of {id} was answered with seq {seq}; {on_disk} are on disk"
            );
            self.require(Err(why));
        }
        let known = self.acknowledged.entry(id).or_default();
        *known = seq.max(*known);
    }

    /// When anything was last recorded, by the engine's clock, or truly changed.
    pub(crate) fn last_event_at(&self) -> Timestamp {
        self.changed_at
    }

    /// What must hold at every moment while the engine runs.
    pub(crate) fn tick(&mut self) {
        let uptime = self.uptime;
        let (mut checks, mut still) = (Vec::new(), BTreeMap::new());
        for (id, since) in &self.dark_breaches {
            checks.push(promise_2_a_breach_in_the_dark_is_rolled_back(*id, uptime - *since));
        }
        for view in self.views.values().filter(|_| !self.dark) {
            let on = self.any_flag_on(view);
            checks.push(invariant_8_watching_never_stops(view, on, uptime));
            checks.push(invariant_9_something_will_wake_it(view, uptime));
            checks.push(invariant_4_a_rollback_goes_on(view, uptime));
            let mut lasting = self.lasting.get(&view.id).copied();
            let around = self.around(&view.plan.deployment);
            checks.push(invariant_4_failing_calls_roll_back(view, &around, uptime, &mut lasting));
            still.extend(lasting.map(|lasting| (view.id, lasting)));
        }
        self.lasting = still;
        checks.into_iter().for_each(|check| self.require(check));
    }

    /// The truth about a deployment, to write in.
    pub(crate) fn book(&mut self, deployment: &str) -> &mut Book {
        self.books.entry(deployment.to_owned()).or_insert_with(Book::new)
    }

    /// Calls that ended at all deployments.
    pub(crate) fn calls(&self) -> u64 {
        self.books.values().map(Book::len).sum()
    }

    /// A deployment's log has seen so many entries.
    pub(crate) fn note_log(&mut self, deployment: &str, now: Timestamp, logged: u64) {
        self.book(deployment).note_log(now, logged);
    }

    /// What is true besides what the journals say.
    fn around(&self, deployment: &str) -> Around<'_> {
        Around {
            book: self.books.get(deployment),
            now: self.now,
            wall: self.wall,
            up: self.uptime - self.up_since,
            clocks: self.clocks,
        }
    }

    /// True when a flag of the exposed phase is truly on.
    fn any_flag_on(&self, view: &View) -> bool {
        let exposed = view.exposed().and_then(|phase| view.plan.phase(phase));
        exposed.is_some_and(|phase| {
            phase.flags.iter().any(|(flag, change)| {
                let found = self.flag(&view.plan.deployment, flag.as_str()).0;
                found == Some(view.on_value(flag, change))
            })
        })
    }
}
