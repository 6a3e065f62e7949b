//! Owns `status`: how a rollout is, in one line and in the exit code, now or when something is reached; and, as talk, what a
//! person says next.
//!
//! A waiting script never hangs on something that will not come: when the rollout ends, is rolled back, or is held and
//! needs a person, the wait is over with that state's own code. The one hold that ends by itself is waited out.

use std::time::Duration;

use rollout_api::{Exit, JournalEntry, RolloutDetail, RolloutStatus, RolloutSummary};

use super::Session;
use crate::cli::{Format, Until};
use crate::failure::Failure;
use crate::follow::{Follower, Next};
use crate::render::status::line;

/// How a wait for a person begins, as the daemon words it.
const A_PERSON: &str = "a person: ";

/// What has happened since the wait began, of the things that conditions ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    checkpoint: bool,
    phase: bool,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// With what was waited for.
    Reached,
    /// With something after which it will not come by itself.
    Passed,
    /// By the clock.
    TimedOut,
}

impl Seen {
    fn note(&mut self, entry: &JournalEntry) {
        match entry.kind.as_str() {
            JournalEntry::CHECKPOINT_JUDGED => self.checkpoint = true,
            JournalEntry::PHASE_COMPLETED | JournalEntry::PHASE_SKIPPED => self.phase = true,
            _ => {}
        }
    }
}

impl Session<'_, '_> {
    pub(super) async fn status(mut self, id: &str) -> Result<Exit, Failure> {
        let rollout = self.seen(id).await?;
        self.print_status(&rollout)?;
        Ok(exit_of(&rollout))
    }

    /// The rollout as it stands; says first what everybody should know.
    async fn seen(&mut self, id: &str) -> Result<RolloutDetail, Failure> {
        let detail = self.client.get(id).await?;
        if let (Format::Text, Some(notice)) = (self.format, &detail.notice) {
            self.io.say(notice);
        }
        Ok(detail)
    }

    /// Waits until a condition is reached, or can no longer be, or the time is over.
    pub(super) async fn status_until(
        mut self,
        id: &str,
        until: Until,
        timeout: Option<Duration>,
    ) -> Result<Exit, Failure> {
        let mut rollout = self.seen(id).await?;
        let wait = self.wait(&mut rollout, until);
        let ending = match timeout {
            None => wait.await?,
            Some(limit) => {
                tokio::time::timeout(limit, wait).await.unwrap_or(Ok(Ending::TimedOut))?
            }
        };
        self.print_status(&rollout)?;
        let condition = until.word();
        match ending {
            Ending::Reached => {}
            Ending::Passed => self.io.say(&format!("`{condition}` was not reached before that")),
            Ending::TimedOut => {
                self.io.say(&format!("the time for reaching `{condition}` is over"))
            }
        }
        Ok(match ending {
            Ending::Reached => Exit::Done,
            Ending::Passed => exit_of(&rollout),
            Ending::TimedOut => Exit::TimedOut,
        })
    }

    /// Keeps `rollout` current while waiting, so that a time-out can show it.
    async fn wait(&mut self, rollout: &mut RolloutDetail, until: Until) -> Result<Ending, Failure> {
        let mut seen = Seen::default();
        if let Some(ending) = judge(until, &rollout.summary, seen) {
            return Ok(ending);
        }
        let client = self.client.clone();
        let mut follower = Follower::new(&client, &rollout.summary.id, rollout.summary.seq);
        loop {
            let next = follower.next(self.io).await?;
            *rollout = follower.detail(self.io).await?;
            match next {
                Next::Entry(entry) => seen.note(&entry),
                Next::Anew => follower.wait_anew(self.io, rollout.summary.seq),
            }
            if let Some(ending) = judge(until, &rollout.summary, seen) {
                return Ok(ending);
            }
        }
    }

    fn print_status(&mut self, rollout: &RolloutDetail) -> Result<(), Failure> {
        let summary = &rollout.summary;
        if self.format == Format::Json {
            return Ok(self.io.print_json(&with_surroundings(rollout)?)?);
        }
        self.io.print_line(&line(summary))?;
        let ways = summary.holds.iter().filter_map(|hold| hold.way_out.as_ref());
        ways.for_each(|way| self.io.say(&format!("next: {way}")));
        if summary.holds.is_empty() {
            let people = rollout.waits.iter().filter_map(|wait| wait.strip_prefix(A_PERSON));
            people.for_each(|what| self.io.say(&format!("next: {what}")));
        }
        Ok(())
    }
}

/// A rollout in short, with what everybody should know and how the store does beside it.
fn with_surroundings(rollout: &RolloutDetail) -> Result<serde_json::Value, Failure> {
    let RolloutDetail { summary, notice, store, .. } = rollout;
    let mut value = serde_json::to_value(summary).map_err(std::io::Error::from)?;
    if let Some(notice) = notice {
        value["notice"] = notice.as_str().into();
    }
    if !store.is_ok() {
        value["store"] = serde_json::to_value(store).map_err(std::io::Error::from)?;
    }
    Ok(value)
}

/// Ends a wait, or lets it go on.
fn judge(until: Until, rollout: &RolloutSummary, seen: Seen) -> Option<Ending> {
    let is_reached = match until {
        Until::Done => rollout.status == RolloutStatus::Completed,
        Until::Held => rollout.needs_a_person(),
        Until::Checkpoint => seen.checkpoint,
        Until::Phase => seen.phase,
        Until::RolledBack => rollout.rolled_back,
    };
    if is_reached {
        return Some(Ending::Reached);
    }
    // A rollback that is on its way has no ending yet, whatever is held meanwhile.
    let is_stuck = !rollout.rolling_back && (rollout.rolled_back || rollout.needs_a_person());
    let is_over = rollout.is_ended() && !rollout.rolling_back;
    (is_over || is_stuck).then_some(Ending::Passed)
}

/// How a rollout is, as an exit code. One that goes on by itself does not while the store is not well.
fn exit_of(rollout: &RolloutDetail) -> Exit {
    let exit = exit_of_itself(&rollout.summary);
    let stands = !rollout.store.is_ok() && !rollout.summary.is_ended();
    if exit == Exit::Done && stands { Exit::Failed } else { exit }
}

fn exit_of_itself(rollout: &RolloutSummary) -> Exit {
    match rollout.status {
        RolloutStatus::Aborted => Exit::Aborted,
        RolloutStatus::Completed if rollout.rolled_back || rollout.rolling_back => Exit::RolledBack,
        RolloutStatus::Completed => Exit::Done,
        RolloutStatus::Scheduled
        | RolloutStatus::Baseline
        | RolloutStatus::Running
        | RolloutStatus::FinalChecks => {
            match (rollout.rolled_back || rollout.rolling_back, rollout.holds.is_empty()) {
                (true, _) => Exit::RolledBack,
                (false, false) => Exit::Held,
                (false, true) => Exit::Done,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rollout_api::{HoldKind, HoldView};

    use super::*;
    use crate::render::samples;

    fn held(kind: HoldKind) -> RolloutSummary {
        let hold = HoldView {
            kind,
            words: "w".into(),
            since: "2026-11-22T10:00:00Z".into(),
            way_out: None,
            drift: None,
        };
        RolloutSummary { holds: vec![hold], ..samples::rollout().summary }
    }

    fn with_status(status: RolloutStatus) -> RolloutSummary {
        RolloutSummary { status, ..samples::rollout().summary }
    }

    #[test]
    fn an_ended_rollout_that_is_rolled_back_is_waited_for_and_counts_as_rolled_back() {
        let mut rollout = with_status(RolloutStatus::Completed);
        rollout.rolling_back = true;
        assert!(judge(Until::RolledBack, &rollout, Seen::default()).is_none());
        assert_eq!(exit_of_itself(&rollout), Exit::RolledBack);
        (rollout.rolling_back, rollout.rolled_back) = (false, true);
        assert!(matches!(
            judge(Until::RolledBack, &rollout, Seen::default()),
            Some(Ending::Reached)
        ));
    }

    #[test]
    fn nothing_goes_on_while_the_store_is_not_well() {
        use rollout_api::StoreWord::{Failing, Ok, Reserve};
        let exit = |summary: &RolloutSummary, store| {
            exit_of(&RolloutDetail { summary: summary.clone(), store, ..samples::rollout() })
        };
        let running = samples::rollout().summary;
        assert_eq!(
            [Ok, Reserve, Failing].map(|store| exit(&running, store)),
            [Exit::Done, Exit::Failed, Exit::Failed]
        );
        assert_eq!(exit(&held(HoldKind::Drift), Failing), Exit::Held);
        assert_eq!(exit(&with_status(RolloutStatus::Completed), Failing), Exit::Done);
    }

    /// Ending and exit code for each condition, in the order of the help page.
    fn endings(rollout: &RolloutSummary) -> [Option<Ending>; 5] {
        [Until::Done, Until::Held, Until::Checkpoint, Until::Phase, Until::RolledBack]
            .map(|until| judge(until, rollout, Seen::default()))
    }

    #[test]
    fn a_running_rollout_is_waited_for() {
        assert_eq!(endings(&samples::rollout().summary), [None; 5]);
        assert_eq!(exit_of_itself(&samples::rollout().summary), Exit::Done);
    }

    #[test]
    fn an_ended_rollout_ends_every_wait_at_once() {
        use Ending::{Passed, Reached};
        let (completed, aborted) =
            (with_status(RolloutStatus::Completed), with_status(RolloutStatus::Aborted));
        assert_eq!(
            endings(&completed),
            [Some(Reached), Some(Passed), Some(Passed), Some(Passed), Some(Passed)]
        );
        assert_eq!(endings(&aborted), [Some(Passed); 5]);
        assert_eq!(
            (exit_of_itself(&completed), exit_of_itself(&aborted)),
            (Exit::Done, Exit::Aborted)
        );
    }

    #[test]
    fn a_hold_that_needs_a_person_ends_a_wait_and_a_blind_one_does_not() {
        let drift = held(HoldKind::Drift);
        assert_eq!(judge(Until::Done, &drift, Seen::default()), Some(Ending::Passed));
        assert_eq!(judge(Until::Held, &drift, Seen::default()), Some(Ending::Reached));
        assert_eq!(exit_of_itself(&drift), Exit::Held);
        assert_eq!(endings(&held(HoldKind::Blind)), [None; 5]);
        assert_eq!(exit_of_itself(&held(HoldKind::Blind)), Exit::Held);
    }

    #[test]
    fn a_rollback_on_its_way_is_waited_out() {
        let rolling = RolloutSummary { rolling_back: true, ..held(HoldKind::RolledBack) };
        assert_eq!(judge(Until::Done, &rolling, Seen::default()), None);
        assert_eq!(judge(Until::RolledBack, &rolling, Seen::default()), None);
        let back = RolloutSummary { rolled_back: true, ..held(HoldKind::RolledBack) };
        assert_eq!(judge(Until::Done, &back, Seen::default()), Some(Ending::Passed));
        assert_eq!(judge(Until::RolledBack, &back, Seen::default()), Some(Ending::Reached));
        assert_eq!(
            (exit_of_itself(&rolling), exit_of_itself(&back)),
            (Exit::RolledBack, Exit::RolledBack)
        );
    }

    #[test]
    fn conditions_about_events_are_reached_by_the_next_one() {
        let entry = |kind: &str| JournalEntry {
            seq: 9,
            at: "2026-11-22T10:00:00Z".into(),
            actor: "rolloutd".into(),
            note: None,
            kind: kind.into(),
            phase: Some(1),
            text: "t".into(),
            details: serde_json::Value::Null,
        };
        let rollout = samples::rollout().summary;
        let after = |until, kind: &str| {
            let mut seen = Seen::default();
            seen.note(&entry(kind));
            judge(until, &rollout, seen)
        };
        assert_eq!(
            after(Until::Checkpoint, JournalEntry::CHECKPOINT_JUDGED),
            Some(Ending::Reached)
        );
        assert_eq!(after(Until::Phase, JournalEntry::CHECKPOINT_JUDGED), None);
        assert_eq!(after(Until::Phase, JournalEntry::PHASE_COMPLETED), Some(Ending::Reached));
        assert_eq!(after(Until::Phase, JournalEntry::PHASE_SKIPPED), Some(Ending::Reached));
        assert_eq!(after(Until::Checkpoint, "reading_taken"), None);
    }
}
