//! The app's own traffic as people write it in a scenario file.
//!
//! Refuses names that are no functions, shares beyond the whole and quantiles out of order: a
//! distribution that cannot be would otherwise show numbers that nobody asked for.

use serde::Deserialize;

use crate::calls;
use crate::completion::{Caller, UdfType};
use crate::functions;
use crate::scenario::Change;
use crate::scenario_file::ScenarioError;
use crate::traffic::{Latency, Load, Traffic, TrafficChange};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct TrafficText {
    function: String,
    #[serde(rename = "type")]
    udf_type: UdfType,
    caller: Option<Caller>,
    per_minute: f64,
    #[serde(default)]
    error_percent: f64,
    message: Option<String>,
    latency_ms: Option<LatencyText>,
    #[serde(default)]
    cached: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct TrafficChangeText {
    function: String,
    per_minute: Option<f64>,
    error_percent: Option<f64>,
    message: Option<String>,
    latency_ms: Option<LatencyText>,
    cached: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LatencyText {
    p50: f64,
    p95: f64,
    p99: f64,
}

pub(crate) fn read_traffic(text: TrafficText, place: &str) -> Result<Traffic, ScenarioError> {
    let function = read_name(&text.function, text.udf_type, place)?;
    let caller = match text.udf_type {
        UdfType::HttpAction => Caller::HttpEndpoint,
        UdfType::Query | UdfType::Mutation | UdfType::Action => Caller::SyncWorker,
    };
    Ok(Traffic {
        function,
        udf_type: text.udf_type,
        caller: text.caller.unwrap_or(caller),
        load: Load {
            per_minute: read_rate(text.per_minute, place)?,
            error_percent: read_share(text.error_percent, 100.0, place)?,
            message: text.message.unwrap_or_else(|| MESSAGE.to_owned()),
            latency: text.latency_ms.map_or(Ok(LATENCY), |text| read_latency(&text, place))?,
            cached: read_share(text.cached, 1.0, place)?,
        },
    })
}

pub(crate) fn read_traffic_change(
    text: TrafficChangeText,
    place: &str,
) -> Result<TrafficChange, ScenarioError> {
    let share =
        |value: Option<f64>, whole| value.map(|value| read_share(value, whole, place)).transpose();
    Ok(TrafficChange {
        per_minute: text.per_minute.map(|rate| read_rate(rate, place)).transpose()?,
        error_percent: share(text.error_percent, 100.0)?,
        cached: share(text.cached, 1.0)?,
        message: text.message,
        latency: text.latency_ms.map(|text| read_latency(&text, place)).transpose()?,
        function: text.function,
    })
}

/// Checks that changes are about traffic that exists.
pub(crate) fn check_names(
    changes: &mut [Change],
    traffic: &[Traffic],
) -> Result<(), ScenarioError> {
    for (index, change) in changes.iter_mut().enumerate() {
        for named in &mut change.traffic {
            let same = |traffic: &&Traffic| {
                traffic.function == named.function
                    || calls::canonical_name(&named.function).ok().as_ref()
                        == Some(&traffic.function)
            };
            let Some(found) = traffic.iter().find(same) else {
                let known: Vec<&str> = traffic.iter().map(|t| t.function.as_str()).collect();
                return Err(ScenarioError::UnknownName {
                    place: format!("change {}", index + 1),
                    kind: "traffic of",
                    name: named.function.clone(),
                    known: known.join(", "),
                });
            };
            named.function.clone_from(&found.function);
        }
    }
    Ok(())
}

fn read_name(name: &str, udf_type: UdfType, place: &str) -> Result<String, ScenarioError> {
    let unexpected = |expected| ScenarioError::Unexpected { place: place.to_owned(), expected };
    if udf_type == UdfType::HttpAction {
        let is_route = name.split_once(" /").is_some_and(|(method, _)| {
            !method.is_empty() && method.chars().all(|c| c.is_ascii_uppercase())
        });
        let name = is_route.then(|| name.to_owned());
        return name.ok_or_else(|| unexpected("`METHOD /path` as the function of an HttpAction"));
    }
    let name = calls::canonical_name(name)
        .map_err(|_| unexpected("`module:function` as the function of traffic"))?;
    let kind = functions::find(&name).map(|function| UdfType::from(function.kind));
    if kind.is_some_and(|kind| kind != udf_type) {
        return Err(unexpected("the type that the app's own function has"));
    }
    Ok(name)
}

fn read_rate(rate: f64, place: &str) -> Result<f64, ScenarioError> {
    let expected = "perMinute from 0 to 100000";
    let is_fine = (0.0..=PER_MINUTE_MAX).contains(&rate);
    is_fine.then_some(rate).ok_or(ScenarioError::Unexpected { place: place.to_owned(), expected })
}

fn read_share(share: f64, whole: f64, place: &str) -> Result<f64, ScenarioError> {
    let expected = "errorPercent from 0 to 100, and cached from 0 to 1";
    let is_fine = (0.0..=whole).contains(&share);
    is_fine.then_some(share).ok_or(ScenarioError::Unexpected { place: place.to_owned(), expected })
}

fn read_latency(text: &LatencyText, place: &str) -> Result<Latency, ScenarioError> {
    let LatencyText { p50, p95, p99 } = *text;
    if 0.0 <= p50 && p50 <= p95 && p95 <= p99 && p99 <= LATENCY_MS_MAX {
        return Ok(Latency { p50, p95, p99 });
    }
    let expected = "latencyMs with 0 <= p50 <= p95 <= p99 <= 900000";
    Err(ScenarioError::Unexpected { place: place.to_owned(), expected })
}

/// What a failed call says when the scenario does not.
const MESSAGE: &str = "the emulated app failed";
/// A small function, when the scenario does not say.
const LATENCY: Latency = Latency { p50: 20.0, p95: 120.0, p99: 400.0 };
/// More than one server runs, and as many as an hour of is still generated in a blink.
const PER_MINUTE_MAX: f64 = 100_000.0;
/// The longest that Convex's metrics know.
const LATENCY_MS_MAX: f64 = 900_000.0;

#[cfg(test)]
mod tests {
    use crate::scenario::Scenario;

    #[track_caller]
    fn check_refused(text: &str, message: &str) {
        let error = Scenario::parse(text).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let full = format!("{error}: {}", source.unwrap_or_default());
        assert!(full.contains(message), "{full}");
    }

    #[test]
    fn mistakes_in_traffic_are_named_with_their_place() {
        let traffic = |rest: &str| format!("[[traffic]]\nperMinute = 1\n{rest}");
        check_refused(&traffic("function = \"a:b\"\ntype = \"Fast\""), "unknown variant `Fast`");
        check_refused(
            &traffic("function = \"a b\"\ntype = \"Query\""),
            "traffic 1: expected `module:function`",
        );
        check_refused(
            &traffic("function = \"x\"\ntype = \"HttpAction\""),
            "traffic 1: expected `METHOD /path`",
        );
        check_refused(
            &traffic("function = \"tasks:get\"\ntype = \"Mutation\""),
            "expected the type that the app's own function has",
        );
        check_refused(
            &traffic("function = \"a:b\"\ntype = \"Query\"\ncached = 1.5"),
            "cached from 0 to 1",
        );
        check_refused(
            &traffic(
                "function = \"a:b\"\ntype = \"Query\"\nlatencyMs = { p50 = 9, p95 = 5, p99 = 9 }",
            ),
            "p50 <= p95",
        );
        check_refused(
            "[[change]]\ntraffic = [{ function = \"a:b\", errorPercent = 5 }]",
            "change 1: there is no traffic of `a:b`",
        );
    }
}
