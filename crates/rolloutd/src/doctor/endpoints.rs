//! Owns the doctor's look at endpoints: the web servers and Prometheus servers that a plan asks, or all of them.
//!
//! Each is asked a control question and then the plan's own, once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use rollout_api::{DoctorSection, FindingState, FindingView};
use rollout_convex::{Bar, Finding, Needs, endpoint_finding};
use rollout_core::{Source, Span, SpanEnd};

use crate::endpoints::Endpoints;

use super::deployments::{LOOK_MAX, fail, ok, unknown, view, warn};

/// How far back a control question looks; ranges say themselves how far.
const CONTROL_SPAN: SignedDuration = SignedDuration::from_mins(15);
/// What helps against an endpoint that does not answer.
const ADVICE: &str = "correct [endpoints] in rolloutd.toml or its credential file, and ask it with curl from this machine";

/// The findings about the endpoints that these needs name; nothing where they name none.
pub(crate) async fn of_needs(
    endpoints: &Endpoints,
    needs: &Needs,
    now: Timestamp,
) -> Option<DoctorSection> {
    let asks: Vec<_> = needs
        .sources
        .iter()
        .filter_map(|(name, source)| Some((name, source, endpoint_of(source)?)))
        .collect();
    if asks.is_empty() {
        return None;
    }
    let mut seen = BTreeSet::new();
    let firsts = asks.iter().filter(|(_, _, endpoint)| seen.insert(*endpoint));
    let controls = firsts.map(|(_, source, name)| control(endpoints, name, Some(source), now));
    let mut findings = join_all(controls).await.concat();
    let span =
        Span { from: now.saturating_sub(CONTROL_SPAN).unwrap_or(now), to: now, end: SpanEnd::Now };
    let questions: Vec<_> = asks.iter().map(|(_, source, _)| (*source, span)).collect();
    match tokio::time::timeout(ANSWER_MAX, endpoints.ask(&questions)).await {
        Ok(answers) => {
            findings.extend(asks.iter().zip(answers).map(|((name, source, _), answer)| {
                view(endpoint_finding(name, source, needs, &answer))
            }))
        }
        Err(_) => findings.push(unknown("health", "the endpoints did not answer in time", ADVICE)),
    }
    Some(DoctorSection { title: "endpoints".to_owned(), findings })
}

/// The findings about every endpoint; nothing where none is configured.
pub(crate) async fn of_all(endpoints: &Endpoints, now: Timestamp) -> Option<DoctorSection> {
    let conditions = endpoints.conditions();
    let controls = conditions.keys().map(|name| control(endpoints, name, None, now));
    let findings = join_all(controls).await.concat();
    (!findings.is_empty()).then(|| DoctorSection { title: "endpoints".to_owned(), findings })
}

/// The endpoints of these needs that cannot be asked now, each in words. Who asks sets the time.
pub(crate) async fn away(endpoints: &Endpoints, needs: &Needs, now: Timestamp) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let named = needs.sources.values().filter_map(|source| Some((source, endpoint_of(source)?)));
    let firsts: Vec<_> = named.filter(|(_, endpoint)| seen.insert(*endpoint)).collect();
    let controls = firsts.iter().map(|(source, name)| control(endpoints, name, Some(source), now));
    let findings = join_all(controls).await.concat();
    let failed = findings.into_iter().filter(|finding| finding.state == FindingState::Fail);
    failed.map(|finding| finding.found).collect()
}

/// The endpoints of these needs that nobody configured: what keeps a rollout from being started. Each is said once, at the first
/// source that asks it, however many do.
pub(crate) fn bars(endpoints: &Endpoints, needs: &Needs) -> Vec<Finding> {
    let known = endpoints.conditions();
    let mut strange: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, source) in &needs.sources {
        let endpoint = endpoint_of(source).filter(|endpoint| !known.contains_key(*endpoint));
        if let Some(endpoint) = endpoint {
            strange.entry(endpoint).or_default().push(name);
        }
    }
    let finding = |(endpoint, sources): (&str, Vec<&str>)| {
        let found = endpoints.find(endpoint).err()?;
        let found = match sources.len() {
            0 | 1 => found,
            count => format!("{found} ({count} sources ask it: {})", sources.join(", ")),
        };
        let first = sources.first().copied().unwrap_or_default();
        Some(Finding {
            bar: Bar::Start,
            pointer: Some(format!("/sources/{}", first.replace('~', "~0").replace('/', "~1"))),
            ..Finding::fail(
                "endpoint",
                found,
                "add it to rolloutd.toml with its URL, then restart rolloutd",
            )
        })
    };
    strange.into_iter().filter_map(finding).collect()
}

async fn control(
    endpoints: &Endpoints,
    name: &str,
    source: Option<&Source>,
    now: Timestamp,
) -> Vec<FindingView> {
    const CHECK: &str = "endpoint";
    let endpoint = match endpoints.find(name) {
        Ok(endpoint) => endpoint,
        Err(words) => return vec![fail(CHECK, words, ADVICE)],
    };
    let remarks = endpoints.conditions().remove(name).unwrap_or_default().remarks;
    let advice = "use https, and a credential file that only rolloutd's user may read";
    let mut findings: Vec<_> =
        remarks.into_iter().map(|remark| warn(CHECK, remark, advice)).collect();
    let asking = async {
        match source {
            Some(source) => endpoint.control(source, now).await,
            None => endpoint.reach().await,
        }
    };
    findings.push(match tokio::time::timeout(ANSWER_MAX, asking).await {
        Ok(Ok(words)) => ok(CHECK, format!("{name} {words}")),
        Ok(Err(words)) => fail(CHECK, words, ADVICE),
        Err(_) => {
            let secs = ANSWER_MAX.as_secs();
            fail(CHECK, format!("endpoint {name} did not answer within {secs} s"), ADVICE)
        }
    });
    findings
}

fn endpoint_of(source: &Source) -> Option<&str> {
    match source {
        Source::Http(get) => Some(&get.endpoint),
        Source::Prometheus(query) => Some(&query.endpoint),
        Source::Function(_) | Source::Executions(_) | Source::AppMetrics(_) => None,
    }
}

/// Time for a control question, and then for the plan's own: together no more than a deployment gets.
const ANSWER_MAX: Duration = Duration::from_secs(LOOK_MAX.as_secs() / 2);

#[cfg(test)]
mod tests {
    use super::*;

    const CRITERION: &str = "[[criteria]]\nname = \"lag\"\nsource = \"a\"\nunit = \"count\"\n\
                             target = \"< 1\"\nalert = \"> 5\"\n";

    #[test]
    fn an_endpoint_that_nobody_configured_is_said_once_however_many_sources_ask_it() {
        let source = |name: &str, endpoint: &str| {
            format!("{name} = {{ prometheus = \"{endpoint}\", query = \"up\" }}\n")
        };
        let sources = [("a", "m"), ("b", "n"), ("c", "m")].map(|(name, at)| source(name, at));
        let text = format!(
            "name = \"p\"\ndeployment = \"d\"\n[sources]\n{}{CRITERION}[[phases]]\nname = \"one\"\nflags = [\"A\"]\n",
            sources.concat()
        );
        let needs = Needs::of(&rollout_api::plan::parse(&text).unwrap());
        let found = bars(&Endpoints::new(&BTreeMap::new()), &needs);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].found.ends_with("(2 sources ask it: a, c)"), "{found:?}");
        assert_eq!(found[0].pointer.as_deref(), Some("/sources/a"));
        assert!(!found[1].found.contains("sources ask it"), "{found:?}");
    }
}
