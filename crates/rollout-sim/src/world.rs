//! Owns the simulated world: what happens when, the deployments, the requests on their way, and the observer of it all.
//!
//! Shared by the simulator's loop, the adapters and the store; all of them run on one thread, one after the other.

#![expect(clippy::wildcard_enum_match_arm, reason = "what is not named is off")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use convex_emulator::{Deployment, DeploymentSettings, EnvChange};
use jiff::{SignedDuration, Timestamp};
use rollout_core::{Effect, FlagChange, FlagName, PendingEffect, RolloutId};
use rollout_engine::store::memory::Broken;

use crate::calls::InApp;
use crate::dice::Dice;
use crate::invariants::Observer;
use crate::net::{Fate, InFlight, Shown, creates, key_of};
use crate::observer::Hand;
use crate::operator::{Memory, Start};
use crate::run::End;
use crate::script::{Kind, Script, beginning};
use crate::trace::{Digest, Trace};
use crate::view::Stand;

/// A way to the world.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<World>>);

/// Something that happens at its time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Happening {
    /// A request reaches its deployment.
    Lands(u64),
    /// Its late answer arrives.
    Arrives(u64),
    /// The adapter learns that no answer comes.
    GivesUp(u64),
    /// A person starts the rollout with this place in the script.
    Starts(usize),
    /// A person gives an order at random.
    Orders,
    /// A diligent person looks after everything.
    Visits,
    /// The process dies.
    Dies,
    /// It is started again.
    Boots,
    /// The wall clock is set.
    Jumps(SignedDuration),
    /// The machine is suspended.
    Sleeps(SignedDuration),
    /// Somebody else sets a flag.
    Edits,
    /// Somebody meddles with a flag of a live rollout.
    Meddles,
    /// Somebody pushes code.
    Pushes,
    /// Something befalls the app of this deployment.
    App(String, InApp),
    /// Somebody else sets this flag of this deployment to this value.
    Rival(String, String, Option<String>),
    /// A person wants back what was just ordered.
    Regrets(RolloutId),
    /// A deployment is away for this long.
    Outage(Fate, SignedDuration),
    /// The disk is mended.
    Heals,
    /// Nothing goes wrong from here on.
    TroubleEnds,
}

/// How the next commit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommitFate {
    /// As it should.
    Done,
    /// The process dies before anything is written.
    DiesBefore,
    /// The process dies after the write and before the sync.
    DiesWritten,
    /// The process dies after the sync and before anybody hears of it.
    DiesDurable,
    /// The disk fails before the sync.
    FailsBefore,
    /// The disk says that it failed, but did not.
    FailsAfter,
    /// The store panics.
    Panics,
}

/// The world.
pub(crate) struct World {
    pub(crate) script: Script,
    /// True time.
    pub(crate) now: Timestamp,
    pub(crate) queue: BTreeMap<(Timestamp, u64), Happening>,
    number: u64,
    pub(crate) deployments: BTreeMap<String, Deployment>,
    pub(crate) requests: BTreeMap<u64, InFlight>,
    pub(crate) outages: BTreeMap<String, (Timestamp, Fate)>,
    pub(crate) net: Dice,
    pub(crate) dice: Dice,
    /// What others change has dice of its own, so that the rest of a seed stays what it was.
    pub(crate) changes: Dice,
    /// So has what people do with the apps.
    pub(crate) calls: Dice,
    /// Since when flags that make calls fail are on, by deployment and name.
    pub(crate) on_since: BTreeMap<(String, String), Timestamp>,
    pub(crate) trouble_over: bool,
    pub(crate) observer: Observer,
    pub(crate) digest: Digest,
    pub(crate) trace: Trace,
    /// Applied writes that changed something, for the comparison of twins.
    pub(crate) writes: Vec<(String, String, Option<String>)>,
    /// What became of each start of the script.
    pub(crate) starts: Vec<Start>,
    pub(crate) memory: Memory,
}

impl Shared {
    pub(crate) fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    pub(crate) fn new(script: Script, trace: Trace) -> Self {
        let now = beginning();
        let deployments = script.deployments.iter().map(|site| {
            let settings = DeploymentSettings {
                name: site.name.clone(),
                admin_key: key_of(&site.name),
                read_only_key: format!("{}|020123456789abcdef", site.name),
                env: site.env.clone(),
                scenario: site.scenario.clone(),
            };
            let deployment = Deployment::new(settings, now);
            (site.name.clone(), deployment.expect("these settings are accepted"))
        });
        Self {
            now,
            queue: BTreeMap::new(),
            number: 0,
            deployments: deployments.collect(),
            requests: BTreeMap::new(),
            outages: BTreeMap::new(),
            net: Dice::new(script.seed, 2),
            dice: Dice::new(script.seed, 3),
            changes: Dice::new(script.seed, 5),
            calls: Dice::new(script.seed, 7),
            on_since: BTreeMap::new(),
            trouble_over: false,
            observer: Observer::new(&script),
            digest: Digest::default(),
            trace,
            writes: Vec::new(),
            starts: vec![Start::Open; script.starts.len()],
            memory: Memory::default(),
            script,
        }
    }

    /// Puts something into the future.
    pub(crate) fn schedule(&mut self, at: Timestamp, what: Happening) {
        let number = self.next_number();
        self.queue.insert((at.max(self.now), number), what);
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// True while things may go wrong.
    pub(crate) fn is_troubled(&self) -> bool {
        !self.trouble_over && self.script.kind == Kind::Trouble
    }

    /// True when nothing may be left to chance, because two runs are compared.
    pub(crate) fn is_steady(&self) -> bool {
        self.script.kind == Kind::Twins
    }

    /// Writes a line of the trace.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        self.trace.note(now, line);
    }

    /// How the next commit ends.
    pub(crate) fn commit_fate(&mut self) -> CommitFate {
        if self.trouble_over {
            return CommitFate::Done;
        }
        let (dead, bad) = (self.script.trouble.dead_commits, self.script.trouble.bad_commits);
        if self.dice.chance(dead) {
            use CommitFate::{DiesBefore, DiesDurable, DiesWritten};
            return self.dice.pick(&[DiesBefore, DiesWritten, DiesDurable]);
        }
        if self.dice.chance(bad) {
            use CommitFate::{FailsAfter, FailsBefore, Panics};
            return self.dice.pick(&[FailsBefore, FailsAfter, Panics]);
        }
        CommitFate::Done
    }

    /// Whether a disk that fails now stays broken for a while, and in what way.
    pub(crate) fn disk_breaks(&mut self) -> Option<Broken> {
        if !self.script.trouble.survives || !self.dice.chance(60) {
            return None;
        }
        let span = self.dice.any_span().min(SignedDuration::from_hours(12));
        let at = self.now + span;
        self.schedule(at, Happening::Heals);
        Some(self.dice.pick(&[Broken::Commits, Broken::Opening]))
    }

    /// An effect is about to be performed.
    pub(crate) fn effect_begins(&mut self, effect: &PendingEffect) {
        self.note(|| format!("performs {} {}", effect.key, short(&effect.effect)));
        self.observer.effect_begins(self.now, effect);
    }

    /// A request is about to land.
    pub(crate) fn before_landing(
        &mut self,
        deployment: &str,
        request: &convex_emulator::wire::Request,
    ) {
        if creates(request) {
            self.observer.creates(deployment, &request_key(request));
        }
    }

    /// Variables changed at a deployment, by a request of ours or by somebody else.
    pub(crate) fn env_changed(
        &mut self,
        deployment: &str,
        before: &BTreeMap<String, String>,
        after: &BTreeMap<String, String>,
        by: Option<&convex_emulator::wire::Request>,
    ) {
        let names: std::collections::BTreeSet<&String> =
            before.keys().chain(after.keys()).collect();
        for name in names {
            let (was, is) = (before.get(name), after.get(name));
            if was == is {
                continue;
            }
            self.note(|| format!("{deployment}: {name} was {was:?}, is {is:?}"));
            if by.is_some() && self.is_troubled() && self.dice.chance(self.script.trouble.rivals) {
                let at = self.now + self.dice.millis(0, 1_500);
                let what = Happening::Rival(deployment.to_owned(), name.clone(), was.cloned());
                self.schedule(at, what);
            }
            if by.is_some() {
                self.writes.push((deployment.to_owned(), name.clone(), is.cloned()));
            }
            let key = by.map(request_key);
            self.observer.flag_changed(self.now, deployment, name, is.cloned(), key);
        }
    }

    /// Somebody else sets variables.
    pub(crate) fn edit(&mut self, deployment: &str, name: &str, value: Option<String>) {
        let now = self.now;
        let Some(found) = self.deployments.get_mut(deployment) else { return };
        let before = found.env().to_map();
        let change = EnvChange { name: name.to_owned(), value };
        // A name that the deployment refuses changes nothing, which is what the observer then sees.
        found.edit(&[change], now).ok();
        let after = found.env().to_map();
        self.env_changed(deployment, &before, &after, None);
    }

    /// An answer reached the adapter.
    pub(crate) fn was_shown(
        &mut self,
        request: &convex_emulator::wire::Request,
        shown: Shown,
        status: u16,
    ) {
        if status == 200 {
            self.observer.was_shown(self.now, &request_key(request), shown);
        }
    }
}

/// The rollout that a request is for.
pub(crate) fn request_rollout(request: &convex_emulator::wire::Request) -> Option<RolloutId> {
    request_key(request).split_once("-s")?.0.parse().ok()
}

/// The effect key that a request carries.
pub(crate) fn request_key(request: &convex_emulator::wire::Request) -> String {
    request.headers.get("convex-request-id").cloned().unwrap_or_default()
}

fn short(effect: &Effect) -> String {
    match effect {
        Effect::Observe(_) => "observe".into(),
        Effect::SetFlags { changes, purpose } => format!("{purpose:?} {changes:?}"),
        Effect::Invoke { call, .. } => format!("invoke {}", call.path),
        Effect::FindChangeWindow { .. } => "find a change window".into(),
    }
}

impl World {
    /// A deployment is away for this long.
    pub(crate) fn goes_away(&mut self, fate: Fate, span: SignedDuration) {
        let until = self.now + span;
        let names: Vec<String> = self.deployments.keys().cloned().collect();
        let name = self.dice.pick(&names);
        self.outages.insert(name, (until, fate));
    }

    /// Somebody else changes something on a deployment.
    pub(crate) fn others_change(&mut self, what: Happening) {
        match what {
            Happening::Meddles => self.meddle(),
            Happening::Pushes => self.push_code(),
            Happening::Rival(deployment, name, value) => self.edit(&deployment, &name, value),
            _ => self.foreign_edit(),
        }
    }

    /// Somebody else sets a flag, or takes it away.
    fn foreign_edit(&mut self) {
        let names: Vec<String> = self.deployments.keys().cloned().collect();
        let deployment = self.dice.pick(&names);
        let number = self.dice.number(0, 3);
        let name = self.dice.pick(&["FLAG_", "FLAG_", "EXTRA_"]);
        let value = self.dice.pick(&[Some("true"), Some("false"), Some("TRUE"), None]);
        let value = value.map(str::to_owned);
        self.edit(&deployment, &format!("{name}{number}"), value);
    }

    /// Somebody meddles with a flag of a live rollout, mostly of a phase that is on, and perhaps insists.
    fn meddle(&mut self) {
        let live = self.observer.views.values().filter(|view| view.ended.is_none());
        let live: Vec<RolloutId> = live.map(|view| view.id).collect();
        if live.is_empty() {
            return;
        }
        let view = &self.observer.views[&self.changes.pick(&live)];
        let (on, all) = (view.flags_on(), view.plan.flags());
        let all: Vec<FlagName> = all.into_iter().collect();
        let flags = if !on.is_empty() && self.changes.chance(85) { on } else { all };
        let flag = self.changes.pick(&flags).to_string();
        let deployment = view.plan.deployment.clone();
        let same = self.observer.flag(&deployment, &flag).0.map(str::to_owned);
        let value = match self.changes.number(0, 9) {
            0..=3 => Some(self.changes.pick(&["TRUE", "on", "1"]).to_owned()),
            4..=6 => same,
            7 => Some("true".to_owned()),
            8 => Some("false".to_owned()),
            _ => None,
        };
        self.edit(&deployment, &flag, value.clone());
        let last = beginning() + self.script.trouble_lasts;
        let (mut at, times) = (self.now, self.changes.pick(&[0, 0, 1, 6]));
        for _ in 0..times {
            at += self.changes.minutes(5, 130);
            if at < last {
                let what = Happening::Rival(deployment.clone(), flag.clone(), value.clone());
                self.schedule(at, what);
            }
        }
    }

    /// Somebody pushes code.
    fn push_code(&mut self) {
        let names: Vec<String> = self.deployments.keys().cloned().collect();
        let name = self.changes.pick(&names);
        let now = self.now;
        self.note(|| format!("{name}: code is pushed"));
        if let Some(found) = self.deployments.get_mut(&name) {
            found.push(now);
        }
    }

    /// What is not over, and what it waits for.
    pub(crate) fn unfinished(&self) -> String {
        let open = self.starts.iter().filter(|start| **start == Start::Open).count();
        let live = self.observer.views.values().filter(|view| view.ended.is_none());
        let live = live.map(|view| {
            let stands: Vec<_> = view.phases.iter().map(|phase| phase.stand).collect();
            format!("{}: {stands:?}, held {:?}", view.id, view.holds)
        });
        format!("{open} starts open; {}", live.collect::<Vec<_>>().join("; "))
    }

    /// How everything ended, without times.
    pub(crate) fn end(&self) -> End {
        let stands = self.observer.views.values().map(|view| {
            let stands: Vec<_> = view.phases.iter().map(|phase| phase.stand).collect();
            // Ids are handed out in the order in which requests arrive, which a crash may change.
            format!("{} {stands:?}", view.plan.deployment)
        });
        let mut stands: Vec<String> = stands.collect();
        stands.sort();
        let env = self
            .deployments
            .iter()
            .map(|(name, deployment)| format!("{name} {:?}", deployment.env().to_map()));
        let mut writes = self.writes.clone();
        writes.sort();
        End { stands, env: env.collect(), writes }
    }

    /// At the end, flags are truly what the journals say.
    pub(crate) fn truth_at_the_end(&self) -> Result<(), String> {
        let mut owners = BTreeMap::new();
        for view in self.observer.views.values() {
            for (number, phase) in view.plan.numbered() {
                for (flag, change) in &phase.flags {
                    let stand = view.phase(number).stand;
                    let key = (view.plan.deployment.clone(), flag.clone());
                    let on = view.on_value(flag, change).to_owned();
                    let owner = (view.id, stand, FlagChange { on, safe: change.safe.clone() });
                    // A later rollout that never touched the flag says nothing about it.
                    match view.touched.contains(&number) || view.reverted.contains(flag) {
                        true => drop(owners.insert(key, owner)),
                        false => drop(owners.entry(key).or_insert(owner)),
                    }
                }
            }
        }
        for ((deployment, flag), (id, stand, change)) in owners {
            let (value, hand) = self.observer.flag(&deployment, flag.as_str());
            // An older rollout may be rolled back after a later one turned the same flag on.
            let older = self
                .observer
                .views
                .values()
                .any(|view| view.plan.deployment == deployment && view.put_back(&flag));
            if older && value == Some(change.safe.as_str()) {
                continue;
            }
            if hand == Hand::Foreign
                || hand == Hand::Unrecorded && value == Some(change.safe.as_str())
            {
                continue;
            }
            let right = match stand {
                Stand::Completed => value == Some(change.on.as_str()),
                Stand::RolledBack => value == Some(change.safe.as_str()),
                _ => value != Some(change.on.as_str()),
            };
            if !right {
                return Err(format!(
                    "invariant 4 (truth at the end): {id} says {flag} is {stand:?}; it is {value:?}"
                ));
            }
        }
        Ok(())
    }
}
