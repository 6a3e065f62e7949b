//! Owns the drive: meets one situation as a reading, as a write of flags, and as a smoke function.
//!
//! Every way through the situation counts what was sent, so that a row cannot pass when nothing was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use rollout_core::{
    Effect, Fault, FaultClass, Measured, MetricQuery, Observation, Outcome, Pace, SourceQuery,
    Span, Unit, WritePurpose,
};

use crate::raw::{RawServer, Reply, http, variables};
use crate::rows::{Answer, Place, Row};
use crate::support::{adapter, call, flag, flags_set, key};

const KEY: &str = "otter|0123456789abcdef";

/// How a row ended, in each way that it can be met.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) row: Row,
    /// The flags' fault, and the words of a source that was asked beside them.
    pub(crate) reading: Option<(Option<Fault>, String)>,
    pub(crate) write: Option<(Fault, Pace)>,
    pub(crate) smoke: Option<(Fault, Pace)>,
}

/// Drives one row.
pub(crate) async fn drive(row: Row) -> Ends {
    let (reads, writes) = match row.place {
        Place::Any => (true, true),
        Place::Reading | Place::Function => (true, false),
        Place::Write => (false, true),
    };
    let smokes = matches!(row.place, Place::Any | Place::Function);
    let mut ends = Ends { row, reading: None, write: None, smoke: None };
    if reads {
        ends.reading = Some(reading(&row).await);
    }
    if writes {
        ends.write = Some(write(&row).await);
        landed(&row).await;
    }
    if smokes {
        ends.smoke = Some(smoke(&row).await);
    }
    ends
}

/// A deployment in the row's situation, with one variable.
struct Site {
    server: RawServer,
    value: Arc<Mutex<&'static str>>,
}

/// Whether a write takes effect although its answer says something else.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Landing {
    Lands,
    Lost,
}

impl Site {
    async fn start(row: &Row, landing: Landing) -> Self {
        let (answer, place) = (row.answer, row.place);
        let value = Arc::new(Mutex::new("false"));
        let shared = value.clone();
        let reply = move |_: usize, request: &str| {
            let is = |part: &str| request.split(' ').nth(1).is_some_and(|path| path.contains(part));
            let in_question = || answer.reply().unwrap_or(Reply::Close);
            match () {
                () if is("list_environment") && matches!(place, Place::Any | Place::Reading) => {
                    in_question()
                }
                () if is("list_environment") => variables(&[("A", &shared.lock().unwrap())]),
                () if is("update_environment") => {
                    if landing == Landing::Lands {
                        *shared.lock().unwrap() = "true";
                    }
                    in_question()
                }
                () if request.contains("deploymentState") => {
                    let state = serde_json::json!({"state": answer.state()});
                    let body = serde_json::json!({"status": "success", "value": state});
                    http(200, &body.to_string())
                }
                () => in_question(),
            }
        };
        Self { server: RawServer::start(reply).await, value }
    }

    fn asked(&self, part: &str) -> usize {
        self.server.requests().iter().filter(|request| request.contains(part)).count()
    }
}

/// Starts a site for a row; where there is no connection, its port is closed again.
async fn site(row: &Row, landing: Landing) -> (Site, rollout_convex::Convex) {
    let mut site = Site::start(row, landing).await;
    let convex = adapter(&site.server.url, KEY);
    if row.answer == Answer::NoConnection {
        site.server.close().await;
    }
    (site, convex)
}

async fn reading(row: &Row) -> (Option<Fault>, String) {
    let (site, convex) = site(row, Landing::Lost).await;
    let metric = MetricQuery::of("rate", "/rate", Unit::Percent);
    let source =
        SourceQuery::once("s", call("m:f", "{}"), Span::at(Timestamp::UNIX_EPOCH), vec![metric]);
    let observation = Observation {
        flags: vec![flag("A")],
        sources: vec![source],
        probes: vec![],
        ..Observation::default()
    };
    let outcome = convex.perform(key(1), &Effect::Observe(observation)).await;
    let Outcome::Observed(reading) = outcome else { panic!("{row:?}: {outcome:?}") };
    let Measured::Failed(words) = &reading.measurements[0].measured else {
        panic!("{row:?}: a failed source is an error, never a value and never nothing: {reading:?}")
    };
    let expected = usize::from(row.answer != Answer::NoConnection);
    assert_eq!(site.asked("/api/function"), expected, "{row:?}");
    (reading.flags.err(), words.clone())
}

fn set(purpose: WritePurpose) -> Effect {
    Effect::SetFlags { changes: BTreeMap::from([(flag("A"), "true".into())]), purpose }
}

/// A write of flags whose first reading is answered well. Enabling and rolling back end alike.
async fn write(row: &Row) -> (Fault, Pace) {
    let row = Row { place: written(row), ..*row };
    let mut ends = Vec::new();
    for purpose in [WritePurpose::Enable, WritePurpose::RestoreSafe] {
        let (site, convex) = site(&row, Landing::Lost).await;
        let outcome = convex.perform(key(2), &set(purpose)).await;
        let Outcome::Failed { fault, pace } = outcome else { panic!("{row:?}: {outcome:?}") };
        let spellings = match row.answer {
            Answer::NoConnection => 0,
            Answer::Empty(404) | Answer::Page(404) => 2,
            _ => 1,
        };
        assert_eq!(site.asked("update_environment"), spellings, "{row:?}: repeated");
        // What is in doubt is settled by reading at once, what is not is left alone.
        let lists = usize::from(spellings > 0) + usize::from(fault.class == FaultClass::Unknown);
        assert_eq!(site.asked("list_environment"), lists, "{row:?}");
        ends.push((fault, pace));
    }
    assert_eq!(ends[0], ends[1], "{row:?}: a rollback is sorted in another way");
    ends.remove(0)
}

/// The write takes effect whatever its answer says: it is a success, at once or at the next try, and is never sent again.
async fn landed(row: &Row) {
    let row = Row { place: written(row), ..*row };
    if matches!(row.answer, Answer::NoConnection | Answer::Empty(404) | Answer::Page(404)) {
        return;
    }
    let (site, convex) = site(&row, Landing::Lands).await;
    match convex.perform(key(3), &set(WritePurpose::RestoreSafe)).await {
        Outcome::FlagsSet { .. } => {}
        Outcome::Failed { fault, .. } => {
            assert_ne!(fault.class, FaultClass::Unknown, "{row:?}: was not read back: {fault:?}");
            // The deployment denied what it did; the core tries again, and finds it done.
        }
        other => panic!("{row:?}: {other:?}"),
    }
    let again = convex.perform(key(3), &set(WritePurpose::RestoreSafe)).await;
    assert_eq!(again, flags_set(&[], &["A"]), "{row:?}");
    assert_eq!((site.asked("update_environment"), *site.value.lock().unwrap()), (1, "true"));
}

/// Only the write itself meets the situation, but where nothing can be connected to.
fn written(row: &Row) -> Place {
    if row.answer == Answer::NoConnection { row.place } else { Place::Write }
}

async fn smoke(row: &Row) -> (Fault, Pace) {
    let (site, convex) = site(row, Landing::Lost).await;
    let bindings = BTreeMap::from([("$key".into(), "r42-s9-1795500000123456789".into())]);
    let effect = Effect::Invoke { call: call("m:f", "{}"), pointer: String::new(), bindings };
    let outcome = convex.perform(key(9), &effect).await;
    let Outcome::Failed { fault, pace } = outcome else { panic!("{row:?}: {outcome:?}") };
    let expected = usize::from(row.answer != Answer::NoConnection);
    assert_eq!(site.asked("/api/function"), expected, "{row:?}: a user's function was repeated");
    (fault, pace)
}
