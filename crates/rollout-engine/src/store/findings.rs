//! Owns what a check of the whole store found: every rollout that is not what was acknowledged, never only the first.
//!
//! Refuses to judge what to do about it; that is for whoever opened the store ([`super::OnDamage`]) and for a person.

use std::fmt;

use rollout_core::{Event, Rollout, RolloutId};

use super::record::decode_event;
use super::{Damage, Quarantined, Standing};

/// What is wrong with one rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rollout.
    pub rollout: RolloutId,
    /// The first entry that cannot be relied on; 0 for the head.
    pub seq: u64,
    /// What does not fit there.
    pub what: Damage,
    /// How the rollout stood, as far as its head or the witness still says.
    pub standing: Option<Standing>,
}

/// How store and witness disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The store ends before a commit that was acknowledged.
    Behind {
        /// The last commit in the store.
        store: u64,
        /// The last commit that the witness saw.
        witness: u64,
    },
    /// Both end with the same commit, and it is not the same one: two histories.
    Diverged {
        /// The commit.
        commit: u64,
    },
}

/// Everything that is wrong with a store. Empty for a sound one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Rollouts that are not what was acknowledged, in id order, each once.
    pub rollouts: Vec<Finding>,
    /// What belongs to no rollout and does not fit, in words.
    pub rows: Vec<String>,
    /// What the witness says about the store as a whole.
    pub loss: Option<Loss>,
}

impl Findings {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.rollouts.is_empty() && self.rows.is_empty() && self.loss.is_none()
    }

    /// What is wrong with `rollout`.
    pub fn of(&self, rollout: RolloutId) -> Option<&Finding> {
        self.rollouts.iter().find(|finding| finding.rollout == rollout)
    }

    /// `RO0203` when all that is wrong is that acknowledged entries are gone, else `RO0202`.
    pub fn code(&self) -> &'static str {
        let is_loss = |finding: &Finding| finding.what.is_loss();
        match self.rows.is_empty() && self.rollouts.iter().all(is_loss) {
            true => "RO0203",
            false => "RO0202",
        }
    }

    /// Notes a finding, unless there is one about that rollout already: the first one is the one that says where.
    pub(super) fn note(&mut self, finding: Finding) {
        if self.of(finding.rollout).is_none() {
            self.rollouts.push(finding);
            self.rollouts.sort_by_key(|finding| finding.rollout);
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let standing = match self.standing {
            Some(Standing::Live) => "live",
            Some(Standing::Ended) => "ended",
            None => "standing unknown",
        };
        write!(f, "{} ({standing}) ", self.rollout)?;
        match self.seq {
            0 => write!(f, "at its head: {}", self.what),
            seq => write!(f, "from entry {seq} on: {}", self.what),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { store, witness } => write!(
                f,
                "the store went back in time, it ends at commit {store} although commit {witness} was acknowledged"
            ),
            Self::Diverged { commit } => write!(
                f,
                "store and witness disagree about commit {commit}, so one of them was copied from another place or time"
            ),
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loss = self.loss.iter().map(ToString::to_string);
        let rollouts = self.rollouts.iter().map(ToString::to_string);
        let all: Vec<_> = loss.chain(self.rows.iter().cloned()).chain(rollouts).collect();
        f.write_str(&all.join("; "))
    }
}

/// One rollout as a survey saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// The rollout.
    pub rollout: RolloutId,
    /// How many entries its head counts; 0 where the head cannot be read.
    pub entries: u64,
    /// How it stands, where that can be read.
    pub standing: Option<Standing>,
    /// What is still to be done about it although it has ended; it is live as far as the store goes.
    pub unsettled: Option<Unsettled>,
}

/// What is still to be done about a rollout that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsettled {
    /// A person has to resolve an incident.
    Incident,
    /// Its flags are on their way back, or watched for a late write.
    Flags,
}

impl Unsettled {
    /// By its whole journal. `None` for a rollout that has not ended or is settled, and where this version cannot read it.
    pub(super) fn of<'a>(payloads: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let events: Vec<Event> = payloads.map(decode_event).collect::<Result<_, _>>().ok()?;
        let rollout = Rollout::replay(&events).ok()?;
        let is_open = rollout.incidents().iter().any(|incident| incident.resolved.is_none());
        match (rollout.status().is_terminal(), rollout.is_over()) {
            (false, _) | (true, true) => None,
            (true, false) if is_open => Some(Self::Incident),
            (true, false) => Some(Self::Flags),
        }
    }
}

/// What a check of every entry saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// All rollouts, in id order, damaged ones included.
    pub rollouts: Vec<Surveyed>,
    /// Number of idempotency rows.
    pub keys: u64,
    /// Rollouts that an earlier opening set aside.
    pub quarantined: Vec<Quarantined>,
    /// What is wrong.
    pub findings: Findings,
}

impl Survey {
    /// Number of entries that were checked, or should have been.
    pub fn entries(&self) -> u64 {
        self.rollouts.iter().map(|surveyed| surveyed.entries).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(number: u64, seq: u64, what: Damage) -> Finding {
        let rollout = RolloutId::new(number).unwrap();
        Finding { rollout, seq, what, standing: Some(Standing::Live) }
    }

    #[test]
    fn all_are_named_in_order_and_each_once() {
        let mut findings = Findings::default();
        findings.note(finding(7, 3, Damage::Checksum));
        findings.note(finding(2, 0, Damage::Undecodable));
        findings.note(finding(7, 9, Damage::Missing));
        let words = findings.to_string();
        assert!(words.starts_with("r2 (live) at its head: "), "{words}");
        assert!(words.contains("; r7 (live) from entry 3 on: the checksum"), "{words}");
        assert_eq!(findings.rollouts.len(), 2);
        assert_eq!(findings.code(), "RO0202");
    }

    #[test]
    fn only_a_loss_is_a_loss() {
        let mut findings =
            Findings { loss: Some(Loss::Behind { store: 2, witness: 3 }), ..Findings::default() };
        assert_eq!(findings.code(), "RO0203");
        findings.note(finding(1, 4, Damage::Lost { upto: 6 }));
        assert_eq!(findings.code(), "RO0203");
        assert!(findings.to_string().contains("entries up to 6 were acknowledged"), "{findings}");
        findings.note(finding(2, 4, Damage::Checksum));
        assert_eq!(findings.code(), "RO0202");
    }
}
