//! Owns a deployment whose answers a test chooses, and whose time goes by only as fast as the test lets it.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{Either, select};
use rollout_convex::wire::{Request, Response};
use rollout_convex::{Convex, Transport, TransportError};
use rollout_core::{Effect, Observation, Outcome, Reading};

use crate::support::key;

/// What becomes of a request: a status and a body, or silence.
pub(crate) type Fate = Option<(u16, serde_json::Value)>;
type Choose = Box<dyn Fn(&str) -> Fate + Send + Sync>;

/// A deployment without sockets.
#[derive(Clone)]
pub(crate) struct Slow {
    timeout: Duration,
    elapsed_ms: Arc<AtomicU64>,
    choose: Arc<Mutex<Choose>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Slow {
    /// One that is silent.
    pub(crate) fn new(timeout: Duration) -> Self {
        let (elapsed_ms, asked) = (Arc::default(), Arc::default());
        let choose: Choose = Box::new(|_| None);
        Self { timeout, elapsed_ms, choose: Arc::new(Mutex::new(choose)), asked }
    }

    /// Chooses the answers from now on, by path and body.
    pub(crate) fn answer(&self, choose: impl Fn(&str) -> Fate + Send + Sync + 'static) {
        *self.choose.lock().unwrap() = Box::new(choose);
    }

    pub(crate) fn convex(&self) -> Convex<Self> {
        Convex::over("prod".into(), "otter|0123456789abcdef".into(), self.clone())
    }

    /// What was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    pub(crate) fn pass(&self, span: Duration) {
        let ms = u64::try_from(span.as_millis()).unwrap();
        self.elapsed_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Takes a reading; says how long it took.
    pub(crate) async fn read(
        &self,
        convex: &Convex<Self>,
        observation: Observation,
    ) -> (Reading, Duration) {
        let begun = self.elapsed();
        let effect = Effect::Observe(observation);
        let time = async {
            loop {
                // Whoever can go on has gone on before time does.
                for _ in 0..8 {
                    tokio::task::yield_now().await;
                }
                self.pass(TICK);
            }
        };
        let outcome = match select(pin!(convex.perform(key(1), &effect)), pin!(time)).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right((never, _)) => never,
        };
        match outcome {
            Outcome::Observed(reading) => (reading, self.elapsed() - begun),
            other => panic!("no reading: {other:?}"),
        }
    }
}

impl Transport for Slow {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let asked = format!("{}?{} {}", request.path, request.query, request.body);
        let fate = (self.choose.lock().unwrap())(&asked);
        self.asked.lock().unwrap().push(asked);
        match fate {
            Some((status, body)) => {
                Ok(Response { status, body: body.to_string().into_bytes(), date: None })
            }
            None => {
                self.wait(self.timeout).await;
                Err(TransportError::TimedOut { after: self.timeout })
            }
        }
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.elapsed_ms.load(Ordering::SeqCst))
    }

    async fn wait(&self, span: Duration) {
        let end = self.elapsed() + span;
        while self.elapsed() < end {
            tokio::task::yield_now().await;
        }
    }
}

const TICK: Duration = Duration::from_millis(100);
