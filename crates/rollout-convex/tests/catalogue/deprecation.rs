//! What a deployment says about the age of its client, beside its answers.

use std::fmt;
use std::sync::{Arc, Mutex};

use rollout_core::FaultClass;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::raw::{RawServer, Reply};
use crate::support::{adapter, fault, flags_set, key, set};

const KEY: &str = "prod:otter|0123456789abcdef";

/// Keeps the messages of warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Warnings {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0.lock().unwrap().push(format!("{value:?}"));
        }
    }
}

/// A deployment that says `state` in every answer, with this status.
async fn saying(status: u16, state: &'static str, body: &'static str) -> RawServer {
    let answer = move |_: usize, _: &str| {
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\
             x-convex-deprecation-state: {state}\r\n\
             x-convex-deprecation-message: use 2.0, not with 0123456789abcdef",
            body.len()
        );
        Reply::Bytes(format!("{head}\r\n\r\n{body}").into_bytes())
    };
    RawServer::start(answer).await
}

#[tokio::test]
async fn an_upgrade_that_is_required_is_told_and_fails_nothing() {
    let body = r#"{"environmentVariables":{"A":"true"}}"#;
    let server = saying(200, "UpgradeRequired", body).await;
    let convex = adapter(&server.url, KEY);
    assert_eq!(convex.deprecation(), None);
    let warnings = Warnings::default();
    // With a single subscriber, a warning that another test is the first to log would be switched off for all threads: tracing
    // then asks the thread at hand, which has none. With two it asks them.
    let second = tracing::Dispatch::new(Warnings::default());
    let heard = tracing::subscriber::set_default(warnings.clone());
    for seq in 1..4 {
        let done = convex.perform(key(seq), &set(&[("A", "true")])).await;
        assert_eq!(done, flags_set(&[], &["A"]));
    }
    drop((heard, second));
    let expected = "deployment prod will soon refuse this version of rolloutd; install a newer one in time \
                    (UpgradeRequired: use 2.0, not with [key])";
    assert_eq!(convex.deprecation(), Some(expected));
    assert_eq!(*warnings.0.lock().unwrap(), [expected], "it is logged once");
}

#[tokio::test]
async fn a_client_that_is_not_supported_needs_a_person() {
    let body = r#"{"code":"ClientVersionUnsupported","message":"too old"}"#;
    let server = saying(400, "Unsupported", body).await;
    let convex = adapter(&server.url, KEY);
    let refused = fault(convex.perform(key(1), &set(&[("A", "true")])).await);
    assert_eq!(refused.class, FaultClass::Permanent);
    assert_eq!(
        refused.reason,
        "deployment prod no longer works with this version of rolloutd (ClientVersionUnsupported): too old; install a newer one"
    );
    let said = convex.deprecation().unwrap();
    assert!(said.starts_with("deployment prod no longer works with this version"), "{said}");
}
