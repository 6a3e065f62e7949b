//! Owns what others changed on a deployment: when each variable was written last and by whom, and when code was pushed.
//!
//! All of it is knowledge beside a reading and never its condition: what a deployment does not tell (an old server, a key that
//! may not look) is left out, and not asked again by this adapter. The values of flags come from the list of variables alone; a
//! time of writing counts only where its row has the very value of that list.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use rollout_core::{EffectKey, FlagName, Known, Observation, Written};

use crate::convex::Convex;
use crate::error::CallError;
use crate::flags::Variables;
use crate::text::clip;
use crate::transport::Transport;
use crate::wire::{self, AuditEvent, Call, Ran, VariableRow};

/// What a deployment was found not to tell.
#[derive(Debug, Default)]
pub(crate) struct Untold {
    writes: AtomicBool,
    push: AtomicBool,
    authors: AtomicBool,
}

/// What one reading found of changes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    rows: Vec<VariableRow>,
    /// When code was pushed last.
    pub(crate) push: Option<Timestamp>,
}

impl<T: Transport> Convex<T> {
    /// Asks for the times of writes and of the last push.
    pub(crate) async fn changes(&self, key: EffectKey) -> Changes {
        let rows = self.told(key, &self.untold.writes, &Call::QueryVariables);
        let rows = rows.await.and_then(|value| wire::decode_rows(value).ok()).unwrap_or_default();
        let push = self.told(key, &self.untold.push, &Call::LastPush).await;
        let push = push.and_then(|value| wire::decode_push(value).ok()).flatten();
        Changes { rows, push }
    }

    /// The writes of the asked flags that are news, with their authors where the audit log tells.
    pub(crate) async fn news(
        &self,
        key: EffectKey,
        observation: &Observation,
        values: &Variables,
        changes: &Changes,
    ) -> BTreeMap<FlagName, Written> {
        let Known { writes: known, push: _ } = &observation.known;
        let mut news = BTreeMap::new();
        for flag in &observation.flags {
            let row = changes.rows.iter().find(|row| row.name == flag.as_str());
            let row = row.filter(|row| values.get(flag.as_str()) == Some(&row.value));
            if let Some(row) = row.filter(|row| known.get(flag) != Some(&row.at)) {
                news.insert(flag.clone(), Written { at: row.at, by: None });
            }
        }
        // What was not known before is where the watch begins; nobody asks who that was.
        let foreign = news.iter().filter(|(flag, _)| known.contains_key(*flag));
        if let Some(first) = foreign.map(|(_, written)| written.at).min() {
            let events = self.audit_log(key, first).await;
            for (flag, written) in &mut news {
                written.by = author(&events, flag, written.at)
                    .map(|by| clip(&self.redact(by), BY_BYTES_MAX));
            }
        }
        news
    }

    /// A system query's value, unless the deployment was found not to tell.
    async fn told(
        &self,
        key: EffectKey,
        untold: &AtomicBool,
        call: &Call,
    ) -> Option<crate::value::ConvexValue> {
        if untold.load(Ordering::Relaxed) {
            return None;
        }
        match self.run(key, call).await {
            Ok(Ran::Returned(value)) => Some(value),
            // An old server without this query; a paused one still answers.
            Ok(Ran::Threw(_)) => None,
            Err(error) => {
                untold.store(is_refusal(&error), Ordering::Relaxed);
                None
            }
        }
    }

    async fn audit_log(&self, key: EffectKey, from: Timestamp) -> Vec<AuditEvent> {
        if self.untold.authors.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let from = from.as_millisecond().saturating_sub(AUTHOR_SLACK_MS);
        match self.send(Some(key), &Call::AuditLog { from }).await {
            Ok(response) => wire::decode_audit(&response).unwrap_or_default(),
            Err(error) => {
                self.untold.authors.store(is_refusal(&error), Ordering::Relaxed);
                Vec::new()
            }
        }
    }
}

/// Who wrote a variable at a time: the entry of the log that is nearest to it.
fn author(events: &[AuditEvent], flag: &FlagName, at: Timestamp) -> Option<String> {
    let distance = |event: &&AuditEvent| (event.at.as_millisecond() - at.as_millisecond()).abs();
    let about = events.iter().filter(|event| event.variable.as_deref() == Some(flag.as_str()));
    let nearest = about.filter(|event| distance(event) <= AUTHOR_SLACK_MS).min_by_key(distance);
    nearest.map(|event| event.actor.clone())
}

/// True for a definite no, which will be the same next time.
fn is_refusal(error: &CallError) -> bool {
    matches!(error, CallError::Refused { status: 400..=404, .. })
}

/// How far an entry of the audit log may be from the write that it is about: both are made in one transaction.
const AUTHOR_SLACK_MS: i64 = 2_000;
/// Longest name of an author.
const BY_BYTES_MAX: usize = 120;
