//! What others change, and what of it a deployment does not tell.

use std::time::Duration;

use convex_emulator::{Fault, FaultKind};
use jiff::Timestamp;
use rollout_convex::{Convex, Transport};
use rollout_core::{Effect, Known, Observation, Outcome};
use serde_json::json;

use crate::slow::{Fate, Slow};
use crate::support::{deployment, flag, key};

const EVERYTHING: [&str; 3] = ["code pushes", "rewrites of flags", "who wrote a flag"];

/// What is not watched; why and what to do is always said.
fn unwatched<T: Transport>(convex: &Convex<T>) -> Vec<&'static str> {
    let all = convex.unwatched().into_iter();
    all.inspect(|one| assert!(!one.why.is_empty() && !one.advice.is_empty(), "{one:?}"))
        .map(|one| one.what)
        .collect()
}

fn observation() -> Observation {
    let writes = [(flag("A"), Timestamp::UNIX_EPOCH)].into();
    Observation {
        flags: vec![flag("A")],
        known: Known { writes, push: None },
        ..Observation::default()
    }
}

/// A deployment that tells everything.
fn open(asked: &str) -> Fate {
    let ms = 1_795_000_000_000.5_f64;
    let row = json!({"name": "A", "value": "true", "_creationTime": ms});
    let event = json!({
        "actor": {"kind": "member", "email": "ada@example.com"},
        "createTime": ms,
        "metadata": {"variable_name": "A"},
    });
    let value = |value| json!({"status": "success", "value": value});
    let body = match asked {
        _ if asked.contains("list_environment") => json!({"environmentVariables": {"A": "true"}}),
        _ if asked.contains("queryEnvironmentVariables") => value(json!([row])),
        _ if asked.contains("lastPushEvent") => value(json!({"_creationTime": ms})),
        _ => json!({"items": [event]}),
    };
    Some((200, body))
}

/// One that lets its flags be read, and answers everything else with `status`.
fn closed(status: u16) -> impl Fn(&str) -> Fate {
    move |asked| match asked.contains("list_environment") {
        true => open(asked),
        false => Some((status, json!(null))),
    }
}

#[tokio::test]
async fn a_404_that_passes_does_not_end_the_watch_for_pushes_and_rewrites() {
    let (emulator, convex) = deployment("", &[("A", "true")]).await;
    emulator.inject(Fault::once("/api/query", FaultKind::status(404, "")));
    emulator.inject(Fault::once("/api/query", FaultKind::status(404, "")));
    let mut found = Vec::new();
    for seq in 1..=2 {
        let effect = Effect::Observe(observation());
        let Outcome::Observed(reading) = convex.perform(key(seq), &effect).await else {
            panic!("no reading")
        };
        let is_unwatched = unwatched(&convex).starts_with(&EVERYTHING[..2]);
        found.push((reading.writes.len(), is_unwatched));
    }
    assert_eq!(found[0], (0, true));
    assert_eq!(found[1], (1, false), "it was never asked again");
}

#[tokio::test]
async fn a_no_is_believed_for_an_hour_and_then_asked_again() {
    let slow = Slow::new(Duration::from_secs(20));
    let convex = slow.convex();
    let deployment = slow.clone();
    let read = async |fate: Box<dyn Fn(&str) -> Fate + Send + Sync>| {
        deployment.answer(fate);
        let (reading, _) = deployment.read(&convex, observation()).await;
        assert!(reading.flags.is_ok());
        (reading, deployment.asked().len())
    };
    let (reading, asked) = read(Box::new(open)).await;
    assert_eq!(reading.writes[&flag("A")].by.as_deref(), Some("member ada@example.com"));
    assert_eq!((asked, unwatched(&convex)), (4, vec![]));
    assert!(reading.push.is_some());

    for status in [403, 400] {
        // Who wrote is not asked where nobody knows that something was written.
        let (reading, asked) = read(Box::new(closed(status))).await;
        assert_eq!((reading.writes.len(), asked), (0, 3));
        assert_eq!(unwatched(&convex), EVERYTHING[..2]);
        assert_eq!(read(Box::new(open)).await.1, 1, "a no was not believed");
        assert_eq!(unwatched(&convex), EVERYTHING[..2]);
        slow.pass(Duration::from_secs(3600));
        let (reading, asked) = read(Box::new(open)).await;
        assert_eq!((reading.writes.len(), asked, unwatched(&convex)), (1, 4, vec![]));
    }
    for status in [401, 404, 503] {
        assert_eq!(read(Box::new(closed(status))).await.1, 3);
        assert_eq!(unwatched(&convex), EVERYTHING[..2]);
        assert_eq!(read(Box::new(open)).await.1, 4, "{status} was believed");
        assert_eq!(unwatched(&convex), [""; 0]);
    }
}

#[tokio::test]
async fn an_author_who_is_not_told_is_none_and_said_to_be() {
    let slow = Slow::new(Duration::from_secs(20));
    let convex = slow.convex();
    slow.answer(|asked| match asked.contains("audit_log") {
        true => Some((403, json!({"code": "OperationNotPermitted", "message": "no"}))),
        false => open(asked),
    });
    for asked in [4, 3] {
        let (reading, _) = slow.read(&convex, observation()).await;
        assert_eq!(reading.writes[&flag("A")].by, None);
        assert_eq!(slow.asked().len(), asked);
        assert_eq!(unwatched(&convex), EVERYTHING[2..]);
    }
}
