//! Owns what others changed on a deployment: when each variable was written last and by whom, and when code was pushed.
//!
//! All of it is knowledge beside a reading and never its condition: what a deployment does not tell (an old server, a key that
//! may not look) or not at once is left out, and `silence` remembers that. The values of flags come from the list of variables
//! alone; a time of writing counts only where its row has the very value of that list.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join;
use jiff::Timestamp;
use rollout_core::{EffectKey, FlagName, Known, Observation, Written};

use crate::convex::Convex;
use crate::error::{CallError, TransportError};
use crate::flags::Variables;
use crate::silence::{Silence, Why};
use crate::text::clip;
use crate::transport::Transport;
use crate::value::ConvexValue;
use crate::wire::{self, AuditEvent, Call, Ran, VariableRow, WireError};

/// What one reading found of changes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// The variables with the times of their writing.
    pub(crate) rows: Vec<VariableRow>,
    /// When code was pushed last.
    pub(crate) push: Option<Timestamp>,
}

impl<T: Transport> Convex<T> {
    /// When each variable was written last.
    pub(crate) async fn writes(&self, key: impl Into<Option<EffectKey>>) -> Vec<VariableRow> {
        let rows = self.told(key, &self.untold.writes, &Call::QueryVariables, wire::decode_rows);
        rows.await.unwrap_or_default()
    }

    /// When code was pushed last.
    pub(crate) async fn push(&self, key: impl Into<Option<EffectKey>>) -> Option<Timestamp> {
        self.told(key, &self.untold.push, &Call::LastPush, wire::decode_push).await.flatten()
    }

    /// Asks what every reading asks besides, so that it is known what is not watched. Who wrote a flag is asked only once
    /// somebody did.
    pub(crate) async fn look_for_silence(&self) {
        let (_, _) = join(self.writes(None), self.push(None)).await;
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

    /// What a system query tells, unless the deployment was found not to tell.
    async fn told<R>(
        &self,
        key: impl Into<Option<EffectKey>>,
        silence: &Silence,
        call: &Call,
        decode: impl Fn(ConvexValue) -> Result<R, WireError>,
    ) -> Option<R> {
        if !silence.is_due(self.transport().elapsed()) {
            return None;
        }
        let told = match self.aside(self.run(key, call)).await {
            Ok(Ran::Returned(value)) => decode(value).map(Some).map_err(CallError::from),
            // An old server without this query; a paused one still answers.
            Ok(Ran::Threw(_)) => Ok(None),
            Err(error) => Err(error),
        };
        self.heed(silence, told)
    }

    async fn audit_log(&self, key: EffectKey, from: Timestamp) -> Vec<AuditEvent> {
        let silence = &self.untold.authors;
        if !silence.is_due(self.transport().elapsed()) {
            return Vec::new();
        }
        let from = from.as_millisecond().saturating_sub(AUTHOR_SLACK_MS);
        let call = Call::AuditLog { from };
        let told = match self.aside(self.send(Some(key), &call)).await {
            Ok(response) => wire::decode_audit(&response).map(Some).map_err(CallError::from),
            Err(error) => Err(error),
        };
        self.heed(silence, told).unwrap_or_default()
    }

    /// Remembers whether something was told.
    fn heed<R>(&self, silence: &Silence, told: Result<Option<R>, CallError>) -> Option<R> {
        let why = match &told {
            Ok(Some(_)) => None,
            Ok(None) => Some(Why::Unknown),
            Err(error) => Some(Why::Error(error)),
        };
        match why {
            None => silence.ended(&self.name),
            Some(why) => silence.goes_on(&self.name, self.transport().elapsed(), why),
        }
        told.ok().flatten()
    }

    /// The end of something that is only asked beside a reading, which does not wait for it.
    async fn aside<R>(
        &self,
        asking: impl Future<Output = Result<R, CallError>>,
    ) -> Result<R, CallError> {
        let after = self.aside_max();
        let end = self.within(after, asking).await;
        end.unwrap_or_else(|| Err(TransportError::TimedOut { after }.into()))
    }

    /// Longest time for one thing that is asked beside a reading.
    pub(crate) fn aside_max(&self) -> Duration {
        self.transport().timeout().min(ASIDE_MAX)
    }
}

/// Who wrote a variable at a time: the entry of the log that is nearest to it.
fn author(events: &[AuditEvent], flag: &FlagName, at: Timestamp) -> Option<String> {
    let distance = |event: &&AuditEvent| (event.at.as_millisecond() - at.as_millisecond()).abs();
    let about = events.iter().filter(|event| event.variable.as_deref() == Some(flag.as_str()));
    let nearest = about.filter(|event| distance(event) <= AUTHOR_SLACK_MS).min_by_key(distance);
    nearest.map(|event| event.actor.clone())
}

/// How far an entry of the audit log may be from the write that it is about: both are made in one transaction.
const AUTHOR_SLACK_MS: i64 = 2_000;
/// Longest name of an author.
const BY_BYTES_MAX: usize = 120;
/// Longest time for one thing beside a reading. The engine gives a whole reading up after three minutes.
const ASIDE_MAX: Duration = Duration::from_secs(5);
