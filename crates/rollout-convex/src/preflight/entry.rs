//! Owns the way in: is it there, is it the right one, does it take the key, does it run, does its clock agree.
//!
//! Pure: what was seen in, findings out.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rollout_core::{FaultClass, Source};

use crate::error::{CallError, Stakes};
use crate::key::{KeyIdentity, KeyReport, WRITE};
use crate::silence::Unwatched;
use crate::text::clip;
use crate::wire::normal_path;

use super::look::{Look, RUNNING, Sighting};
use super::{Bar, Finding, Needs};

/// Whether it answers, how fast, and what it says it is.
pub(super) fn reach(look: &Look, name: &str) -> Finding {
    const CHECK: &str = "reach";
    let Some(sighting) = look.sighting else {
        let found = match &look.key {
            Err(error) => error.reason(name),
            Ok(_) => format!("deployment {name} did not answer"),
        };
        let advice = "check the URL in rolloutd.toml, this machine's network, and whether the deployment is up";
        return Finding::fail(CHECK, found, advice);
    };
    let instance = look.name.as_deref().unwrap_or(name);
    let kind = look.kind.as_ref().ok().map(|kind| {
        let word = kind.deployment_type.as_deref().unwrap_or(&kind.kind);
        if word == "selfHosted" { "self-hosted".to_owned() } else { clip(word, WORD_BYTES_MAX) }
    });
    // Builds without a version call themselves unknown.
    let version = look.version.as_ref().ok().filter(|version| *version != "unknown");
    let version = version.map(|version| format!("version {}", clip(version, WORD_BYTES_MAX)));
    let about = kind.into_iter().chain(version).collect::<Vec<_>>().join(", ");
    let about = if about.is_empty() { about } else { format!(" ({about})") };
    let instance = clip(instance, WORD_BYTES_MAX);
    let found = format!("{instance}{about} answers in {} ms", sighting.took.as_millis());
    match sighting.took > SLOW {
        false => Finding::well(CHECK, found),
        true => Finding::warn(
            CHECK,
            found,
            "look for what is slow between here and there: every reading and rollback takes several such answers",
        ),
    }
}

/// What of changes by others will not be seen.
pub(super) fn unwatched(Unwatched { what, why, advice }: Unwatched) -> Finding {
    Finding::warn("changes", format!("not watched: {what}; {why}"), advice)
}

/// Whether URL and key are of the same deployment.
pub(super) fn url(look: &Look, identity: &KeyIdentity, remarks: &[String]) -> Vec<Finding> {
    const CHECK: &str = "url";
    let advice = "make sure that URL and key in rolloutd.toml are of the same deployment";
    let mut findings: Vec<_> = remarks
        .iter()
        .map(|remark| {
            let advice = if remark.contains("unencrypted") {
                "use https, or a tunnel to the deployment's own machine"
            } else {
                advice
            };
            Finding::warn(CHECK, remark.clone(), advice)
        })
        .collect();
    match (&look.name, &identity.names) {
        (Ok(instance), Some(named)) if instance == named => {
            findings.push(Finding::well(
                CHECK,
                format!("the key names {named}, as the deployment does"),
            ));
        }
        (Ok(instance), Some(named)) => {
            let found = format!(
                "the key names {}, but the deployment at this URL is {}",
                clip(named, WORD_BYTES_MAX),
                clip(instance, WORD_BYTES_MAX)
            );
            // A key that was taken all the same is right; the deployment knows better than its name.
            findings.push(match look.key.is_ok() {
                true => Finding::warn(CHECK, found, advice),
                false => Finding::fail(CHECK, found, advice),
            });
        }
        (Err(CallError::Transport(_)), Some(_)) if look.sighting.is_some() => {
            let found = "the deployment did not tell its name in time";
            findings.push(Finding::unknown(CHECK, found, "run this again"));
        }
        (Err(_), Some(_)) if look.sighting.is_some() && findings.is_empty() => {
            let found =
                "the deployment does not tell its name, so it cannot be compared with the key's";
            findings.push(Finding::unknown(CHECK, found, advice));
        }
        (Ok(_) | Err(_), _) => {}
    }
    findings
}

/// Whether the key is taken, and what kind it is.
pub(super) fn key(look: &Look, identity: &KeyIdentity, name: &str) -> Finding {
    const CHECK: &str = "key";
    match &look.key {
        Ok(report) if report.is_read_only => Finding::fail(
            CHECK,
            format!("it is read-only ({})", identity.kind),
            format!(
                "put a key that may write environment variables into the credential file of deployment {name}"
            ),
        )
        .barring(),
        Ok(_) if identity.names.is_none() => Finding::warn(
            CHECK,
            format!("it is {}, which may open other deployments too", identity.kind),
            "use a deploy key of this deployment alone",
        ),
        Ok(_) => Finding::well(CHECK, format!("it is {}, and taken", identity.kind)),
        Err(error) if error.class(Stakes::Read) == FaultClass::Permanent => Finding::fail(
            CHECK,
            error.reason(name),
            format!(
                "make a deploy key in the deployment's settings and put it into the credential file of deployment {name}"
            ),
        )
        .barring(),
        Err(_) => Finding::unknown(CHECK, AWAY, ADVICE_AWAY),
    }
}

/// One operation that is needed, and what for.
struct Operation {
    name: &'static str,
    purpose: String,
    bar: Bar,
}

/// Whether the key may do all that these needs ask for.
pub(super) fn permissions(look: &Look, needs: &Needs) -> Vec<Finding> {
    const CHECK: &str = "permissions";
    let report = match &look.key {
        Ok(report) => report,
        Err(_) => {
            return vec![Finding::unknown(
                CHECK,
                "the deployment has to take the key first",
                ADVICE_AWAY,
            )];
        }
    };
    let wanted = operations(look, needs);
    let mut findings: Vec<_> =
        wanted.iter().filter_map(|operation| lacking(report, operation)).collect();
    let is_silent = wanted.iter().any(|operation| report.permits(operation.name).is_none());
    match (findings.is_empty(), is_silent) {
        (true, false) => {
            let names: Vec<_> = wanted.iter().map(|operation| operation.name).collect();
            findings.push(Finding::well(CHECK, format!("the key permits {}", names.join(", "))));
        }
        (true, true) => findings.push(Finding::unknown(
            CHECK,
            "the server is too old to say what its key permits",
            "try the key with one harmless `npx convex env set`, or update the server",
        )),
        (false, _) => {}
    }
    findings
}

fn lacking(report: &KeyReport, operation: &Operation) -> Option<Finding> {
    const CHECK: &str = "permissions";
    if report.permits(operation.name) != Some(false) {
        return None;
    }
    let found = format!("the key lacks {}, needed to {}", operation.name, operation.purpose);
    let advice = format!("use a key that permits {}", operation.name);
    Some(match operation.bar {
        Bar::Start => Finding::fail(CHECK, found, advice).barring(),
        Bar::Nothing => Finding::warn(CHECK, found, advice),
    })
}

/// What has to be permitted for these needs.
fn operations(look: &Look, needs: &Needs) -> Vec<Operation> {
    let must =
        |name, purpose: &str| Operation { name, purpose: purpose.to_owned(), bar: Bar::Start };
    let mut all = vec![
        must("ViewEnvironmentVariables", "read flags"),
        must(WRITE, "set flags and put them back"),
    ];
    let has = |kind: fn(&Source) -> bool| needs.sources.values().any(kind);
    if has(|source| matches!(source, Source::Executions(_))) {
        all.push(must("ViewLogs", "read the execution stream"));
    }
    if has(|source| matches!(source, Source::AppMetrics(_))) {
        all.push(must("ViewMetrics", "read the deployment's metrics"));
    }
    for (kind, name) in [
        ("Query", "RunInternalQueries"),
        ("Mutation", "RunInternalMutations"),
        ("Action", "RunInternalActions"),
    ] {
        if let Some(path) = internal(look, needs, kind) {
            all.push(must(name, &format!("call {path}")));
        }
    }
    let purpose = String::from("see whether functions exist, and code being pushed");
    all.push(Operation { name: "ViewData", purpose, bar: Bar::Nothing });
    all
}

/// The first function of a type that the plan calls and only a key may.
fn internal<'a>(look: &Look, needs: &'a Needs, kind: &str) -> Option<&'a str> {
    let functions = look.functions.as_ref().ok()?;
    let is_such = |path: &str| {
        let path = normal_path(path);
        functions.iter().any(|known| known.path == path && known.kind == kind && known.is_internal)
    };
    needs.called().map(|wanted| wanted.path.as_str()).find(|path| is_such(path))
}

/// Whether it runs.
pub(super) fn state(look: &Look, name: &str) -> Finding {
    const CHECK: &str = "state";
    let writable = "flags can be read, set and put back meanwhile, but nothing can be watched";
    match look.state.as_ref().map(String::as_str) {
        Ok(RUNNING) => Finding::well(CHECK, "running"),
        Ok("paused") => Finding::fail(
            CHECK,
            format!("paused: {writable}"),
            "resume it in the deployment's settings",
        ),
        Ok("disabled") => Finding::fail(
            CHECK,
            format!("disabled, as by a limit of its plan or of spending: {writable}"),
            "look at the team's usage and billing in the Convex dashboard",
        ),
        Ok("suspended") => Finding::fail(
            CHECK,
            format!("suspended by Convex: {writable}"),
            "write to Convex's support",
        ),
        Ok(other) => Finding::unknown(
            CHECK,
            format!("`{}`, which this version does not know", clip(other, WORD_BYTES_MAX)),
            "look at the deployment in the Convex dashboard",
        ),
        Err(error) => unanswered(CHECK, look, error, name),
    }
}

/// Whether its clock agrees with ours.
pub(super) fn clock(look: &Look) -> Finding {
    const CHECK: &str = "clock";
    let Some(sighting) = look.sighting else { return Finding::unknown(CHECK, AWAY, ADVICE_AWAY) };
    let Some(skew) = skew(&sighting) else {
        return Finding::unknown(
            CHECK,
            "the answer carries no time",
            "compare the clocks by hand; a proxy in between may take the header `Date` away",
        );
    };
    let size = SignedDuration::abs(skew);
    let side = if skew.is_negative() { "behind" } else { "ahead of" };
    let found = format!("the deployment's clock is {} s {side} this machine's", size.as_secs());
    let advice = "set this machine's clock by NTP (`timedatectl status`): windows and checkpoints are counted by it";
    match () {
        () if size > SKEW_FAIL => Finding::fail(CHECK, found, advice),
        () if size > SKEW_WARN => Finding::warn(CHECK, found, advice),
        () if size.is_zero() => Finding::well(CHECK, "agrees with this machine's, to the second"),
        () => Finding::well(CHECK, found),
    }
}

/// How far the deployment's clock is ahead of ours, at least. Its second lasts a second and the exchange takes a while, so
/// two stretches of time are compared; where they overlap there is no skew to be seen.
fn skew(sighting: &Sighting) -> Option<SignedDuration> {
    let date = sighting.date?;
    let end = date.saturating_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX);
    Some(match () {
        () if date > sighting.answered => date.duration_since(sighting.answered),
        () if end < sighting.sent => end.duration_since(sighting.sent),
        () => SignedDuration::ZERO,
    })
}

/// The finding for something that was not answered: unknown where the deployment is away.
pub(super) fn unanswered(
    check: &'static str,
    look: &Look,
    error: &CallError,
    name: &str,
) -> Finding {
    match (&look.sighting, &look.key) {
        (None, _) => Finding::unknown(check, AWAY, ADVICE_AWAY),
        (Some(_), Err(_)) => {
            Finding::unknown(check, "the deployment has to take the key first", ADVICE_AWAY)
        }
        (Some(_), Ok(_)) => Finding::unknown(
            check,
            error.reason(name),
            format!("run this again; the deployment was given {} s", look.within.as_secs()),
        ),
    }
}

/// What is found about a deployment that does not answer.
const AWAY: &str = "the deployment does not answer";
/// What helps against everything that could not be asked.
const ADVICE_AWAY: &str = "put right what is said above, then run this again";
/// An answer that takes longer is worth a warning.
const SLOW: Duration = Duration::from_secs(2);
/// Beyond this the clocks are worth a warning.
const SKEW_WARN: SignedDuration = SignedDuration::from_secs(5);
/// Beyond this the times in logs and sources no longer fit together.
const SKEW_FAIL: SignedDuration = SignedDuration::from_secs(30);
/// Longest word of the deployment's that is quoted.
pub(super) const WORD_BYTES_MAX: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(sent: i64, answered: i64, date: Option<i64>) -> Option<i64> {
        let at = |second| Timestamp::from_second(second).unwrap();
        let took = Duration::from_millis(3);
        let sighting =
            Sighting { sent: at(sent), answered: at(answered), date: date.map(at), took };
        skew(&sighting).map(|skew| skew.as_secs())
    }

    #[test]
    fn only_a_gap_between_the_clocks_is_a_skew() {
        assert_eq!(seen(100, 100, None), None);
        assert_eq!(seen(100, 100, Some(100)), Some(0));
        assert_eq!(seen(100, 100, Some(99)), Some(0), "99.999 may well be meant");
        assert_eq!(seen(100, 110, Some(104)), Some(0), "anywhere in a slow exchange");
        assert_eq!(seen(100, 110, Some(117)), Some(7));
        assert_eq!(seen(100, 110, Some(60)), Some(-39));
    }
}
