//! Owns what goes on while the power fails: rollouts that advance, and one busy operator per deployment who writes down
//! every acknowledgement.
//!
//! What is written down was sent by a daemon that ran; so whoever reads the book after the daemon was frozen and killed has
//! nothing in it that the disk may lack.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rollout_api::client::{Client, ClientError, IdempotencyKey};
use rollout_api::{Answer, JournalEntry, OrderRequest, OrderVerb, StartRequest};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Something that a person was told is so.
#[derive(Clone, Debug)]
pub(crate) enum Acknowledged {
    /// A rollout was started.
    Started {
        /// Its id.
        rollout: String,
    },
    /// An order made this happen.
    Happened {
        /// The rollout's id.
        rollout: String,
        /// What.
        entry: Box<JournalEntry>,
    },
}

/// Something acknowledged, and when that was heard.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// What.
    pub(crate) what: Acknowledged,
    /// How long the recording of the daemon's writes was then, in bytes; 0 without one.
    pub(crate) recorded: u64,
}

/// Everything that was acknowledged, and how much was sent and heard.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    acknowledged: Arc<Mutex<Vec<Told>>>,
    recording: Option<PathBuf>,
    /// Counts every request when it is sent and when it is answered.
    moments: watch::Sender<u64>,
}

impl Book {
    pub(crate) fn new() -> Self {
        let (acknowledged, recording) = (Arc::default(), None);
        Self { acknowledged, recording, moments: watch::Sender::new(0) }
    }

    /// A book about a daemon whose writes are recorded in this file.
    pub(crate) fn beside(recording: &Path) -> Self {
        Self { recording: Some(recording.to_owned()), ..Self::new() }
    }

    /// Everything so far, oldest first.
    pub(crate) fn read(&self) -> Vec<Acknowledged> {
        self.read_told().into_iter().map(|told| told.what).collect()
    }

    /// The same with its moments.
    pub(crate) fn read_told(&self) -> Vec<Told> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `more` requests were sent or answered.
    pub(crate) async fn after(&self, more: u64) {
        let mut moments = self.moments.subscribe();
        let goal = *moments.borrow_and_update() + more;
        // The sender lives as long as this book.
        let _ = moments.wait_for(|now| *now >= goal).await;
    }

    fn write(&self, told: impl IntoIterator<Item = Acknowledged>) {
        let mut acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        let length = |file: &PathBuf| fs::metadata(file).map_or(u64::MAX, |found| found.len());
        let recorded = self.recording.as_ref().map_or(0, length);
        acknowledged.extend(told.into_iter().map(|what| Told { what, recorded }));
    }

    fn tick(&self) {
        self.moments.send_modify(|now| *now += 1);
    }
}

/// Sends one operator to each deployment. They work until the daemon is gone.
pub(crate) fn begin(
    socket: &Path,
    deployments: &[String],
    book: &Book,
    random: &mut fastrand::Rng,
) -> JoinSet<()> {
    let mut operators = JoinSet::new();
    for deployment in deployments {
        let operator = Operator {
            socket: socket.to_owned(),
            deployment: deployment.clone(),
            book: book.clone(),
            random: random.fork(),
        };
        operators.spawn(operator.work());
    }
    operators
}

struct Operator {
    socket: PathBuf,
    deployment: String,
    book: Book,
    random: fastrand::Rng,
}

/// The daemon is gone.
struct Gone;

impl Operator {
    async fn work(mut self) {
        while self.see_to_one_rollout().await.is_ok() {}
    }

    /// Takes up the rollout that is live on the deployment, or starts one, and gives it a handful of orders.
    async fn see_to_one_rollout(&mut self) -> Result<(), Gone> {
        let list = answered(self.client()?.list().await)?;
        let mine = |summary: &&rollout_api::RolloutSummary| summary.deployment == self.deployment;
        let mine: Vec<_> =
            list.iter().flat_map(|list| &list.rollouts).filter(mine).cloned().collect();
        let live =
            mine.iter().find(|summary| !summary.is_ended()).map(|summary| summary.id.clone());
        let id = match live {
            Some(id) => id,
            None => {
                // A flag stays locked until somebody has looked at the incident.
                let unresolved = mine
                    .iter()
                    .flat_map(|of| of.open_incidents.iter().map(|number| (of.id.clone(), *number)));
                for (id, number) in unresolved.collect::<Vec<_>>() {
                    let order = OrderRequest { incident: Some(number), ..because("looked at it") };
                    self.order(&id, OrderVerb::Resolve, order).await?;
                }
                match self.start().await? {
                    Some(id) => id,
                    None => return Ok(()),
                }
            }
        };
        for _ in 0..self.random.usize(5..30) {
            let (verb, order) = self.draw();
            self.order(&id, verb, order).await?;
        }
        Ok(())
    }

    async fn start(&mut self) -> Result<Option<String>, Gone> {
        let request = StartRequest { plan: plan(&self.deployment), start_at: None, reason: None };
        let client = self.client()?;
        self.book.tick();
        let started = answered(client.start(&request, &IdempotencyKey::random()).await)?;
        let Some(started) = started else { return Ok(None) };
        let rollout = started.rollout.id;
        self.book.write([Acknowledged::Started { rollout: rollout.clone() }]);
        self.book.tick();
        Ok(Some(rollout))
    }

    async fn order(&mut self, id: &str, verb: OrderVerb, order: OrderRequest) -> Result<(), Gone> {
        let client = self.client()?;
        self.book.tick();
        let obeyed = answered(client.order(id, verb, &order).await)?;
        if let Some(obeyed) = obeyed.filter(|obeyed| obeyed.answer == Answer::Accepted) {
            let told = obeyed.events.into_iter().map(|entry| Acknowledged::Happened {
                rollout: id.to_string(),
                entry: Box::new(entry),
            });
            self.book.write(told);
        }
        self.book.tick();
        Ok(())
    }

    fn draw(&mut self) -> (OrderVerb, OrderRequest) {
        let reason = format!("number {}", self.random.u32(..));
        let order = because(&reason);
        let item = Some(String::from("runbook"));
        match self.random.u32(0..100) {
            0..35 => (OrderVerb::Hold, order),
            35..70 => (OrderVerb::Resume, order),
            70..80 => (OrderVerb::Check, OrderRequest { item, phase: Some(2), ..order }),
            80..90 => (OrderVerb::Approve, OrderRequest { phase: Some(2), ..order }),
            90..96 => (OrderVerb::Promote, order),
            _ => (OrderVerb::Abort, order),
        }
    }

    fn client(&self) -> Result<Client, Gone> {
        Client::unix(&self.socket).map_err(|_| Gone)
    }
}

/// A refusal acknowledges nothing, and is no trouble.
fn answered<T>(answer: Result<T, ClientError>) -> Result<Option<T>, Gone> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(ClientError::Problem(_)) => Ok(None),
        Err(ClientError::Unreachable { .. } | ClientError::Protocol { .. }) => Err(Gone),
    }
}

fn because(reason: &str) -> OrderRequest {
    OrderRequest { reason: reason.to_string(), ..OrderRequest::default() }
}

/// Two short windows, and a person between them.
fn plan(deployment: &str) -> String {
    format!(
        "name = \"busy\"\ndeployment = \"{deployment}\"\n\n\
         [watch]\nchecks = [{{ every = \"10m\" }}]\n\n\
         [[phases]]\nname = \"one\"\nflags = [\"ENABLE_ONE\"]\nbake = \"2h\"\ncheckpoints = [\"1h\", \"2h\"]\n\n\
         [[phases]]\nname = \"two\"\nflags = [\"ENABLE_TWO\"]\nbake = \"2h\"\ncheckpoints = [\"2h\"]\napprovals = 1\n\n\
         [[phases.before]]\nname = \"runbook\"\ntext = \"Runbook reviewed\"\n"
    )
}
