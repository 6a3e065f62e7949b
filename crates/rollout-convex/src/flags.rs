//! Owns flags on a deployment: read, compared, written in one atomic batch, proved by reading back.
//!
//! Invariants: nothing is sent when every value is as wanted (setting an equal value would rerun every subscription); a
//! success was read back; an unknown outcome is settled by reading, never by writing again. Duplicate names cannot occur:
//! changes are a map (the deployment would let the greatest value win, and `true` is greater than `false`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use rollout_core::{EffectKey, Fault, FaultClass, FlagName, FlagValues, Outcome, Pace};

use crate::convex::Convex;
use crate::error::{CallError, Stakes};
use crate::text::clip;
use crate::transport::Transport;
use crate::wire::{self, Call, Paths, Ran, Response, WireError};

/// All variables of a deployment by name.
pub(crate) type Variables = BTreeMap<String, String>;

/// Takes the asked flags out of a snapshot.
pub(crate) fn values_of(flags: &[FlagName], variables: &Variables) -> FlagValues {
    flags.iter().map(|flag| (flag.clone(), variables.get(flag.as_str()).cloned())).collect()
}

impl<T: Transport> Convex<T> {
    /// Brings flags to the wanted values.
    pub(crate) async fn set_flags(
        &self,
        key: EffectKey,
        wanted: &BTreeMap<FlagName, String>,
    ) -> Outcome {
        if wanted.is_empty() {
            return Outcome::FlagsSet { wrote: Vec::new(), already: Vec::new() };
        }
        let _hurry = self.transport().hurry();
        let before = match self.list_variables(key).await {
            Ok(before) => before,
            Err(error) => return error.outcome(Stakes::Read, &self.name),
        };
        let wrote = differing(wanted, &before);
        let already = wanted.keys().filter(|flag| !wrote.contains(flag)).cloned().collect();
        if wrote.is_empty() {
            return Outcome::FlagsSet { wrote, already };
        }
        let changes = wrote
            .iter()
            .filter_map(|flag| Some((flag.to_string(), wanted.get(flag)?.clone())))
            .collect();
        let doubt = match self.write_variables(key, changes).await {
            Ok(()) => None,
            Err(error) if error.class(Stakes::Write) == FaultClass::Unknown => Some(error),
            Err(error) => return error.outcome(Stakes::Write, &self.name),
        };
        let after = match self.list_variables(key).await {
            Ok(after) => after,
            Err(error) => return self.unread(doubt.as_ref(), &error),
        };
        let wrong = differing(wanted, &after);
        match wrong.is_empty() {
            true => Outcome::FlagsSet { wrote, already },
            false => self.mismatch(doubt.as_ref(), &wrong),
        }
    }

    /// Reads all variables, with whichever spelling the server knows.
    pub(crate) async fn list_variables(
        &self,
        key: impl Into<Option<EffectKey>>,
    ) -> Result<Variables, CallError> {
        let key = key.into();
        let candidates = [
            Call::ListVariables(Paths::Versioned),
            Call::ListVariables(Paths::Unversioned),
            Call::QueryVariables,
        ];
        let (route, response) = self.send_known(key, &self.list_route, &candidates).await?;
        let variables = if candidates.get(route) == Some(&Call::QueryVariables) {
            match self.read_ran(&response)? {
                Ran::Returned(rows) => wire::decode_queried_variables(rows)?,
                Ran::Threw(_) => {
                    return Err(WireError::Unexpected("a list of environment variables").into());
                }
            }
        } else {
            wire::decode_variables(&response)?
        };
        self.list_route.store(route, Ordering::Relaxed);
        Ok(variables)
    }

    /// Writes one batch. The body of a success says nothing and is not read.
    pub(crate) async fn write_variables(
        &self,
        key: impl Into<Option<EffectKey>>,
        changes: Variables,
    ) -> Result<(), CallError> {
        let key = key.into();
        let candidates = [Paths::Versioned, Paths::Unversioned]
            .map(|paths| Call::SetVariables(paths, changes.clone()));
        let (route, _) = self.send_known(key, &self.set_route, &candidates).await?;
        self.set_route.store(route, Ordering::Relaxed);
        Ok(())
    }

    /// Sends the first of `candidates` whose path the server knows, beginning with the one that worked last time. A path
    /// that is not known did nothing, so this repeats nothing. Answers with the candidate's index, too.
    async fn send_known(
        &self,
        key: Option<EffectKey>,
        last: &AtomicUsize,
        candidates: &[Call],
    ) -> Result<(usize, Response), CallError> {
        let first = last.load(Ordering::Relaxed);
        let mut unknown = None;
        for (route, call) in
            candidates.iter().enumerate().cycle().skip(first).take(candidates.len())
        {
            match self.send(key, call).await {
                Err(error) if error.is_unknown_path() => unknown = unknown.or(Some(error)),
                answer => return Ok((route, answer?)),
            }
        }
        Err(unknown.unwrap_or_else(|| WireError::Unexpected("an answer").into()))
    }

    /// The end of a write whose result could not be read back.
    fn unread(&self, doubt: Option<&CallError>, error: &CallError) -> Outcome {
        let (read, name) = (error.reason(&self.name), &self.name);
        let reason = match doubt {
            Some(doubt) => {
                format!("{}; reading the flags back failed too: {read}", doubt.reason(name))
            }
            None => format!(
                "deployment {name} accepted the write, but reading the flags back failed: {read}"
            ),
        };
        let fault = Fault::new(FaultClass::Unknown, error.code(), reason);
        Outcome::Failed { fault, pace: error.pace() }
    }

    /// The end of a write after which flags have other values than wanted. Values are not shown: they may be secrets of
    /// somebody else's.
    fn mismatch(&self, doubt: Option<&CallError>, wrong: &[FlagName]) -> Outcome {
        let names: Vec<_> = wrong.iter().map(FlagName::as_str).collect();
        let (names, name) = (clip(&names.join(", "), NAMES_BYTES_MAX), &self.name);
        let (code, reason) = match doubt {
            Some(doubt) => (
                doubt.code(),
                format!("{}; read back, without the wanted value: {names}", doubt.reason(name)),
            ),
            None => {
                let read =
                    format!("read back right after, these had not the wanted value: {names}");
                (
                    None,
                    format!(
                        "deployment {name} accepted the write, but {read}; is somebody else changing them?"
                    ),
                )
            }
        };
        let pace = doubt.map_or(Pace::Usual, CallError::pace);
        Outcome::Failed { fault: Fault::new(FaultClass::Unknown, code, reason), pace }
    }
}

/// The flags whose value is not the wanted one. A variable that is not set differs from every value, the empty one too.
fn differing(wanted: &BTreeMap<FlagName, String>, variables: &Variables) -> Vec<FlagName> {
    let differs =
        |(flag, value): &(&FlagName, &String)| variables.get(flag.as_str()) != Some(*value);
    wanted.iter().filter(differs).map(|(flag, _)| flag.clone()).collect()
}

/// Longest list of names in a reason.
const NAMES_BYTES_MAX: usize = 200;
