//! Owns readings: flags, health sources and probes of one observation, asked at the same time.
//!
//! Invariants: every distinct question is asked once per reading, whoever wants its answer; at most
//! [`CALLS_AT_ONCE_MAX`] at a time; each part fails on its own, so that a health function that throws does not hide a flag
//! that somebody changed; and a reading ends: what was not answered within its time fails alone, in words. The flags are asked
//! first, so that nothing takes their time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join;
use futures_util::stream;
use jiff::Timestamp;
use rollout_core::{
    EffectKey, Fault, FaultClass, FlagName, FunctionCall, Measurement, Observation, Probe,
    ProbeAnswer, ProbeKind, ProbeState, Reading, Source, SourceQuery,
};
use serde_json::Value as Json;

use crate::calls::{Lack, Moment, Told};
use crate::changes::Changes;
use crate::convex::Convex;
use crate::endpoint;
use crate::error::stopped::{may_be_stopped, state_words, thrown_words};
use crate::error::{CallError, Stakes, span};
use crate::flags::{Variables, values_of};
use crate::measure::{self, REASON_BYTES_MAX};
use crate::text::clip;
use crate::transport::Transport;
use crate::value::ConvexValue;
use crate::wire::{self, Call, Ran, VariableRow, WireError};

/// A function with the arguments it is called with. Equal questions are asked once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Question {
    path: String,
    /// One JSON object as text, bindings replaced, fields in the order of their names.
    args: String,
}

/// What a function answered, or why there is no answer in words.
type Answer = Result<ConvexValue, String>;

/// One thing to ask.
enum Job {
    Variables,
    Writes,
    Push,
    Ask(Question),
    /// With the moment at which the reading began: that is what its span calls now, however long this waits for others.
    Count(SourceQuery, Moment),
}

/// One thing that was asked.
enum Asked {
    Variables(Result<Variables, Fault>),
    Writes(Vec<VariableRow>),
    Push(Option<Timestamp>),
    Function(Question, Result<Ran, CallError>),
    Counted(String, Result<Told, Lack>),
}

/// What was answered in time.
#[derive(Default)]
struct Answered {
    variables: Option<Result<Variables, Fault>>,
    changes: Changes,
    ends: BTreeMap<Question, Result<Ran, CallError>>,
    counted: BTreeMap<String, Result<Told, Lack>>,
}

impl Answered {
    fn take(&mut self, one: Asked) {
        match one {
            Asked::Variables(read) => self.variables = Some(read),
            Asked::Writes(rows) => self.changes.rows = rows,
            Asked::Push(push) => self.changes.push = push,
            Asked::Counted(source, told) => {
                self.counted.insert(source, told);
            }
            Asked::Function(question, end) => {
                self.ends.insert(question, end);
            }
        }
    }
}

/// The arguments of a call as one object: any text in it that equals a binding's name is replaced by its value.
///
/// # Errors
///
/// Words, when the arguments are no JSON object.
pub(crate) fn bound_args(
    call: &FunctionCall,
    bindings: &BTreeMap<String, String>,
) -> Result<Json, String> {
    match serde_json::from_str(&call.args) {
        Ok(args @ Json::Object(_)) => Ok(bind(args, bindings)),
        Ok(_) | Err(_) => Err(format!("the arguments of {} are not one JSON object", call.path)),
    }
}

fn bind(json: Json, bindings: &BTreeMap<String, String>) -> Json {
    match json {
        Json::String(text) => Json::String(bindings.get(&text).cloned().unwrap_or(text)),
        Json::Array(items) => {
            Json::Array(items.into_iter().map(|item| bind(item, bindings)).collect())
        }
        Json::Object(fields) => Json::Object(
            fields.into_iter().map(|(name, value)| (name, bind(value, bindings))).collect(),
        ),
        plain @ (Json::Null | Json::Bool(_) | Json::Number(_)) => plain,
    }
}

fn question(call: &FunctionCall, bindings: &BTreeMap<String, String>) -> Result<Question, String> {
    Ok(Question { path: call.path.clone(), args: bound_args(call, bindings)?.to_string() })
}

impl<T: Transport> Convex<T> {
    /// Takes one reading.
    pub(crate) async fn observe(&self, key: EffectKey, observation: &Observation) -> Reading {
        let bound = READING_MAX.min(self.transport().timeout().saturating_mul(TIMEOUTS_MAX));
        let (late, jobs) = (not_in_time(&self.name, bound), jobs_of(observation, self.moment()));
        let wants_variables = jobs.iter().any(|job| matches!(job, Job::Variables));
        let Answered { variables, changes, ends, counted } = self.answered(key, jobs, bound).await;
        let variables = variables.unwrap_or_else(|| match wants_variables {
            true => Err(Fault::new(FaultClass::Transient, None, late.clone())),
            false => Ok(Variables::new()),
        });
        let answers = self.answers(key, ends).await;
        let answer = |question: Result<Question, String>| {
            let unasked = || Err(late.clone());
            question.and_then(|question| answers.get(&question).cloned().unwrap_or_else(unasked))
        };
        let measurements = observation.sources.iter().flat_map(|source| match &source.ask {
            Source::Function(call) => {
                let told = answer(question(call, &BTreeMap::new()));
                endpoint::Answer::from(told).measurements(&source.metrics)
            }
            Source::Executions(_) | Source::AppMetrics(_) => {
                counts(source, counted.get(&source.source), &late)
            }
            Source::Http(_) | Source::Prometheus(_) => counts(source, None, NOT_OURS),
        });
        let probes = observation.probes.iter().map(|probe| match &probe.kind {
            ProbeKind::VariableSet(flag) => variable_answer(probe, flag, &variables),
            ProbeKind::Function { call, pointer, expect } => {
                match answer(question(call, &observation.bindings)) {
                    Ok(result) => measure::answer(probe, &result, pointer, expect),
                    Err(reason) => failed_probe(probe, &reason),
                }
            }
        });
        let (measurements, probes) = (measurements.collect(), probes.collect());
        let writes = match &variables {
            Ok(values) => self.news(key, observation, values, &changes).await,
            Err(_) => BTreeMap::new(),
        };
        let cursors =
            counted.into_iter().filter_map(|(source, told)| Some((source, told.ok()?.cursor?)));
        let cursors = cursors.collect();
        let flags = variables.map(|variables| values_of(&observation.flags, &variables));
        Reading { flags, writes, push: changes.push, cursors, measurements, probes }
    }

    /// Does all jobs, some at a time, and gives what was answered within `bound`.
    async fn answered(&self, key: EffectKey, jobs: Vec<Job>, bound: Duration) -> Answered {
        let mut answered = Answered::default();
        let mut asking = stream::iter(jobs)
            .map(|job| self.ask(key, job))
            .buffer_unordered(CALLS_AT_ONCE_MAX)
            .boxed();
        let all = async {
            while let Some(one) = asking.next().await {
                answered.take(one);
            }
        };
        if self.within(bound, all).await.is_none() {
            tracing::warn!(deployment = self.name, ?bound, "a reading was not answered in time");
        }
        answered
    }

    async fn ask(&self, key: EffectKey, job: Job) -> Asked {
        match job {
            Job::Writes => Asked::Writes(self.writes(key).await),
            Job::Push => Asked::Push(self.push(key).await),
            Job::Count(query, asked) => {
                let told = self.unless_stopped(key, self.count(&query, asked)).await;
                Asked::Counted(query.source, told)
            }
            Job::Variables => {
                let read = self.list_variables(key).await;
                Asked::Variables(read.map_err(|error| error.fault(Stakes::Read, &self.name)))
            }
            Job::Ask(question) => {
                let args = serde_json::from_str(&question.args).unwrap_or_default();
                let end = self.run(key, &Call::Run { path: question.path.clone(), args }).await;
                Asked::Function(question, end)
            }
        }
    }

    /// Asks a source that counts executions.
    async fn count(&self, query: &SourceQuery, asked: Moment) -> Result<Told, Lack> {
        let SourceQuery { ask, span, stay, cursor, metrics, source: _ } = query;
        match ask {
            Source::Executions(calls) => {
                self.stream.note(query, asked.own);
                self.executions_asked(asked, calls, *span, *stay, cursor.as_deref()).await
            }
            Source::AppMetrics(calls) => {
                let pointers: Vec<&str> =
                    metrics.iter().map(|metric| metric.pointer.as_str()).collect();
                self.app_metrics(calls, *span, &pointers).await
            }
            Source::Function(_) | Source::Http(_) | Source::Prometheus(_) => {
                Err(Lack::Failed(String::from(NOT_OURS)))
            }
        }
    }

    /// Turns the ends of functions into values and reasons. When one may have failed because the deployment is stopped, the
    /// deployment is asked once.
    async fn answers(
        &self,
        key: EffectKey,
        ends: BTreeMap<Question, Result<Ran, CallError>>,
    ) -> BTreeMap<Question, Answer> {
        let is_suspect = |end: &Result<Ran, CallError>| match end {
            Ok(Ran::Threw(thrown)) => may_be_stopped(thrown),
            Ok(Ran::Returned(_)) | Err(_) => false,
        };
        let state = match ends.values().any(is_suspect) {
            true => self.within(self.aside_max(), self.state(key)).await.flatten(),
            false => None,
        };
        let answers = ends.into_iter().map(|(question, end)| {
            let reason = match end {
                Ok(Ran::Returned(value)) => return (question, Ok(value)),
                Ok(Ran::Threw(thrown)) => {
                    thrown_words(&question.path, &thrown, state.as_deref(), &self.name)
                }
                Err(error) => {
                    format!("could not ask {}: {}", question.path, error.reason(&self.name))
                }
            };
            (question, Err(clip(&reason, REASON_BYTES_MAX)))
        });
        answers.collect()
    }

    /// Says that the deployment is stopped, in place of what its executions show then: that every call fails.
    async fn unless_stopped(
        &self,
        key: EffectKey,
        told: impl Future<Output = Result<Told, Lack>>,
    ) -> Result<Told, Lack> {
        let (told, state) = join(told, self.state(key)).await;
        match state.and_then(|state| state_words(&state, &self.name)) {
            Some(words) => Err(Lack::Failed(words)),
            None => told,
        }
    }

    /// What the deployment calls its own state: `running`, `paused` …; `None` when it does not say. Answers in every state.
    pub(crate) async fn state(&self, key: impl Into<Option<EffectKey>>) -> Option<String> {
        self.ask_state(key).await.ok()
    }

    /// The same, with the reason where it does not say.
    pub(crate) async fn ask_state(
        &self,
        key: impl Into<Option<EffectKey>>,
    ) -> Result<String, CallError> {
        let Ran::Returned(value) = self.run(key, &Call::DeploymentState).await? else {
            return Err(WireError::Unexpected("a deployment state").into());
        };
        let state = wire::decode_state(value)?;
        self.stops.note(&state, self.transport().own_elapsed());
        Ok(state)
    }
}

/// Everything that one reading has to ask, each thing once. The flags come first, then what is known to end soon.
fn jobs_of(observation: &Observation, asked: Moment) -> Vec<Job> {
    let is_variable = |probe: &Probe| matches!(probe.kind, ProbeKind::VariableSet(_));
    let wants_variables =
        !observation.flags.is_empty() || observation.probes.iter().any(is_variable);
    let sources = observation.sources.iter().filter_map(|source| match &source.ask {
        Source::Function(call) => Some(question(call, &BTreeMap::new())),
        Source::Executions(_) | Source::AppMetrics(_) | Source::Http(_) | Source::Prometheus(_) => {
            None
        }
    });
    let counted = observation.sources.iter().filter(|source| source.ask.calls().is_some());
    let probes = observation.probes.iter().filter_map(|probe| match &probe.kind {
        ProbeKind::VariableSet(_) => None,
        ProbeKind::Function { call, .. } => Some(question(call, &observation.bindings)),
    });
    let questions: BTreeSet<_> = sources.chain(probes).flatten().collect();
    let changes = [Job::Writes, Job::Push].into_iter().filter(|_| !observation.flags.is_empty());
    wants_variables
        .then_some(Job::Variables)
        .into_iter()
        .chain(changes)
        .chain(questions.into_iter().map(Job::Ask))
        .chain(counted.map(|query| Job::Count(query.clone(), asked)))
        .collect()
}

/// One measurement per metric of a source that counts executions, or `otherwise` where it told nothing.
fn counts(
    source: &SourceQuery,
    told: Option<&Result<Told, Lack>>,
    otherwise: &str,
) -> Vec<Measurement> {
    let unasked = Err(Lack::Failed(otherwise.to_owned()));
    let told = told.unwrap_or(&unasked);
    let each = source.metrics.iter().map(|metric| match told {
        Ok(told) => Measurement {
            criterion: metric.criterion.clone(),
            measured: told.measured(&metric.pointer, metric.unit),
            basis: Some(told.basis),
        },
        Err(lack) => Measurement::of(&metric.criterion, lack.clone().into()),
    });
    each.collect()
}

/// Whether a variable is there. Its value stays here.
fn variable_answer(
    probe: &Probe,
    flag: &FlagName,
    variables: &Result<Variables, Fault>,
) -> ProbeAnswer {
    let (state, found) = match variables.as_ref().map(|variables| variables.get(flag.as_str())) {
        Err(fault) => return failed_probe(probe, &fault.reason),
        Ok(None) => (ProbeState::NotMet, format!("{flag} is not set")),
        Ok(Some(value)) if value.is_empty() => {
            (ProbeState::NotMet, format!("{flag} is set to the empty text"))
        }
        Ok(Some(_)) => (ProbeState::Met, format!("{flag} is set")),
    };
    ProbeAnswer { probe: probe.name.clone(), state, found }
}

fn failed_probe(probe: &Probe, reason: &str) -> ProbeAnswer {
    ProbeAnswer {
        probe: probe.name.clone(),
        state: ProbeState::Failed,
        found: clip(reason, REASON_BYTES_MAX),
    }
}

/// Why there is no answer to something that others left no time for.
fn not_in_time(deployment: &str, bound: Duration) -> String {
    let bound = span(bound);
    format!(
        "not asked in time: deployment {deployment} did not answer all of this reading within {bound}"
    )
}

/// Longest time for what one reading asks of a deployment. The engine gives a reading up after three minutes, and with it
/// whatever was answered; after this come at most two short questions.
const READING_MAX: Duration = Duration::from_secs(60);
/// The same in timeouts of one request, where those are short.
const TIMEOUTS_MAX: u32 = 3;
/// A defect of ours, said and not guessed around.
const NOT_OURS: &str = "this source is not asked of a deployment";
/// Most requests of one reading at the same time. The smallest deployment runs 16 queries at once, for its users too.
pub(crate) const CALLS_AT_ONCE_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bindings_replace_whole_texts_wherever_they_stand() {
        let args = r#"{"name":"$key","keep":"a $key b","nested":[{"deep":"$id"}],"$key":1}"#;
        let call = FunctionCall { path: "m:f".into(), args: args.into() };
        let bindings =
            BTreeMap::from([("$key".into(), "r1-s1".into()), ("$id".into(), "j5".into())]);
        let bound = bound_args(&call, &bindings).unwrap();
        let expected = serde_json::json!({"name": "r1-s1", "keep": "a $key b", "nested": [{"deep": "j5"}], "$key": 1});
        assert_eq!(bound, expected);
        for wrong in ["", "[]", "null", "{"] {
            assert!(
                bound_args(&FunctionCall { path: "m:f".into(), args: wrong.into() }, &bindings)
                    .is_err(),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn equal_questions_are_asked_once() {
        let call = |args: &str| FunctionCall { path: "m:f".into(), args: args.into() };
        let source = |args: &str| {
            SourceQuery::once(
                "s",
                call(args),
                rollout_core::Span::at(jiff::Timestamp::UNIX_EPOCH),
                vec![],
            )
        };
        let probe = |args: &str| {
            let kind = ProbeKind::Function {
                call: call(args),
                pointer: String::new(),
                expect: rollout_core::Expectation::Answers,
            };
            Probe { name: "p".into(), kind }
        };
        let observation = Observation {
            flags: vec![],
            sources: vec![source("{}"), source(r#"{"a":1,"b":2}"#)],
            probes: vec![probe("{ }"), probe(r#"{"b":2, "a":1}"#), probe(r#"{"id":"$id"}"#)],
            bindings: BTreeMap::from([("$id".into(), "j5".into())]),
            ..Observation::default()
        };
        let begun = Moment { passed: Duration::ZERO, own: Duration::ZERO };
        let jobs = jobs_of(&observation, begun);
        let asked = jobs
            .iter()
            .map(|job| if let Job::Ask(question) = job { question.args.as_str() } else { "list" });
        let asked: Vec<_> = asked.collect();
        assert_eq!(asked, [r#"{"a":1,"b":2}"#, r#"{"id":"j5"}"#, "{}"]);
    }
}
