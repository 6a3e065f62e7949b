//! Owns the demo's course: follows the event stream from the first entry to the last, lets the operator act, kills the
//! engine when its moment has come, and goes on where the stream broke off.
//!
//! Invariants: every step is the answer to an entry of the stream; each entry is seen once, across all kills; a stream that
//! ends though nobody killed the engine, and one that says nothing, end the demo with a clear error.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rollout_api::client::{ClientError, EventStream};
use rollout_api::{JournalEntry, RolloutDetail};
use rollout_core::Plan;
use tokio::time::timeout;

use super::DemoScenario;
use super::clock::DemoClock;
use super::engine::Engine;
use super::error::DemoError;
use super::kills::Kills;
use super::operator;
use super::story::Story;
use super::values::key_values;

/// Something happens at least every half hour of rollout time; twice that, and some real time on top, is silence.
const QUIET_MAX: SignedDuration = SignedDuration::from_hours(1);
/// Real time that is added to it: a slow machine is no fault of the engine's.
const QUIET_GRACE: Duration = Duration::from_secs(20);
/// The guide takes five days; one that needs twice as long does not end by itself.
const ROLLOUT_MAX: SignedDuration = SignedDuration::from_hours(24 * 12);

/// What was counted on the way.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Kills that the engine came back from.
    pub(super) kills: usize,
    /// Gaps in the windows.
    pub(super) gaps: usize,
    /// Readings taken.
    pub(super) readings: usize,
    /// From the first entry to the last.
    pub(super) lasted: SignedDuration,
    /// From the reading that breached to the safe values read back.
    pub(super) rolled_back_within: Option<SignedDuration>,
    /// The values of the last reading, in words.
    pub(super) values: String,
}

/// The window that is running.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// Its phase.
    pub(super) phase: u8,
    /// When it began.
    pub(super) started_at: Timestamp,
    /// How long it was planned.
    pub(super) length: SignedDuration,
}

/// Why the demo stops following a stream.
enum Turn {
    Killed,
    Ended,
}

/// A demo under way.
pub(super) struct Play<'a> {
    scenario: DemoScenario,
    plan: &'a Plan,
    engine: Engine<'a>,
    kills: Kills,
    id: String,
    seq: u64,
    first_at: Option<Timestamp>,
    rollback_at: Option<Timestamp>,
    killed_at: Option<Timestamp>,
    quiet_max: Duration,
    window: Option<Window>,
    tally: Tally,
}

impl<'a> Play<'a> {
    /// Takes over a started rollout.
    pub(super) fn new(
        scenario: DemoScenario,
        plan: &'a Plan,
        engine: Engine<'a>,
        kills: Kills,
        id: String,
        clock: &DemoClock,
    ) -> Self {
        let quiet = QUIET_MAX.unsigned_abs() / clock.scale().max(1) + QUIET_GRACE;
        Self {
            scenario,
            plan,
            engine,
            kills,
            id,
            seq: 0,
            first_at: None,
            rollback_at: None,
            killed_at: None,
            quiet_max: quiet,
            window: None,
            tally: Tally::default(),
        }
    }

    /// The engine.
    pub(super) fn engine(&self) -> &Engine<'a> {
        &self.engine
    }

    /// Plays until the rollout has come to the end that the scenario has.
    pub(super) async fn until_the_end(
        &mut self,
        story: &mut Story,
    ) -> Result<RolloutDetail, DemoError> {
        loop {
            let mut stream = self.engine.client().follow(&self.id, self.seq).await?;
            match self.follow(&mut stream, story).await? {
                Turn::Killed => {
                    self.engine.restart().await?;
                    self.tally.kills += 1;
                }
                Turn::Ended => return Ok(self.engine.client().get(&self.id).await?),
            }
        }
    }

    /// Ends the engine and says what was counted.
    pub(super) async fn close(mut self) -> Result<Tally, DemoError> {
        self.engine.kill().await?;
        Ok(self.tally)
    }

    async fn follow(
        &mut self,
        stream: &mut EventStream,
        story: &mut Story,
    ) -> Result<Turn, DemoError> {
        loop {
            let entry = match timeout(self.quiet_max, stream.next()).await {
                Ok(Ok(Some(entry))) => entry,
                Ok(Ok(None) | Err(ClientError::Unreachable { .. })) => {
                    return Err(self.engine.post_mortem().await);
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(self.engine.silent_for(self.quiet_max)),
            };
            self.seq = entry.seq;
            let at: Timestamp =
                entry.at.parse().map_err(|_| DemoError::NotAnEntry { seq: entry.seq })?;
            self.count(&entry, at)?;
            story.tell(&entry, at, &self.tally.values, self.killed_at);
            if self.answer(&entry, at, story).await? {
                story.quiet();
                return Ok(Turn::Ended);
            }
            if self.kill_is_due(at, story) {
                self.engine.kill().await?;
                return Ok(Turn::Killed);
            }
            story.progress(at, self.window.as_ref());
        }
    }

    fn count(&mut self, entry: &JournalEntry, at: Timestamp) -> Result<(), DemoError> {
        let first_at = *self.first_at.get_or_insert(at);
        self.tally.lasted = at.duration_since(first_at);
        match entry.kind.as_str() {
            "gap_recorded" => self.tally.gaps += 1,
            "reading_taken" => {
                self.tally.readings += 1;
                self.tally.values = key_values(entry, self.plan);
            }
            "rollback_started" => self.rollback_at = Some(at),
            "rollback_finished" => {
                self.tally.rolled_back_within =
                    self.rollback_at.map(|from| at.duration_since(from));
            }
            _ => {}
        }
        match self.tally.lasted > ROLLOUT_MAX {
            true => Err(DemoError::Overdue { days: ROLLOUT_MAX.as_hours() / 24 }),
            false => Ok(()),
        }
    }

    /// Does what an entry asks for. True when the scenario is at its end.
    async fn answer(
        &mut self,
        entry: &JournalEntry,
        at: Timestamp,
        story: &mut Story,
    ) -> Result<bool, DemoError> {
        let client = self.engine.client();
        match (entry.kind.as_str(), entry.phase) {
            ("preflight_passed", Some(phase)) => {
                let done = operator::open_gates(client, &self.id, phase).await?;
                story.operator(at, phase, &done);
            }
            ("bake_started", Some(phase)) => self.window = self.window_of(phase).await?,
            ("bake_ended", Some(phase)) => {
                self.window = None;
                let done = operator::conclude(client, &self.id, phase).await?;
                story.operator(at, phase, &done);
            }
            ("held", _) => self.check_hold().await?,
            ("rollback_started", _) => self.window = None,
            // The reading that proves the rollback looks at flags alone; the next one shows the app again.
            ("reading_taken", _) => {
                let is_back = self.tally.rolled_back_within.is_some();
                let is_shown = !self.tally.values.is_empty();
                return Ok(self.scenario == DemoScenario::Breach && is_back && is_shown);
            }
            ("rollout_completed" | "rollout_aborted", _) => return Ok(true),
            _ => {}
        }
        Ok(false)
    }

    /// Only the rollback of the breach scenario may hold the rollout until a person comes.
    async fn check_hold(&self) -> Result<(), DemoError> {
        let summary = self.engine.client().get(&self.id).await?.summary;
        let expected =
            self.scenario == DemoScenario::Breach && (summary.rolling_back || summary.rolled_back);
        match summary.needs_a_person() && !expected {
            true => {
                let holds = summary.holds.into_iter().map(|hold| hold.words).collect();
                Err(DemoError::Held { holds })
            }
            false => Ok(()),
        }
    }

    async fn window_of(&self, number: u8) -> Result<Option<Window>, DemoError> {
        let detail = self.engine.client().get(&self.id).await?;
        let phase = detail.phases.into_iter().find(|phase| phase.number == number);
        let window = phase.and_then(|phase| phase.bake).and_then(|bake| {
            let length = i64::try_from(bake.window_secs).ok().map(SignedDuration::from_secs)?;
            let started_at = bake.started_at.parse().ok()?;
            Some(Window { phase: number, started_at, length })
        });
        Ok(window.filter(|window| window.length > SignedDuration::ZERO))
    }

    /// True when this is the moment of a kill; the process still runs.
    fn kill_is_due(&mut self, at: Timestamp, story: &mut Story) -> bool {
        let Some(window) = &self.window else { return false };
        let due = self.kills.strikes(window.phase, window.passed(at), window.length);
        if due {
            story.killed(at, window);
            self.killed_at = Some(at);
        }
        due
    }
}

impl Window {
    /// How much of it has passed.
    pub(super) fn passed(&self, at: Timestamp) -> SignedDuration {
        at.duration_since(self.started_at).clamp(SignedDuration::ZERO, self.length)
    }

    /// The share that has passed, in percent.
    pub(super) fn percent(&self, at: Timestamp) -> i64 {
        self.passed(at).as_secs().saturating_mul(100) / self.length.as_secs().max(1)
    }
}
