//! Owns the daemon's life: what is started in which order, and how it ends.
//!
//! Store, engine (every live rollout is armed), socket, then `READY=1`. On SIGTERM or SIGINT: no new connections, running
//! requests get a moment, the engine stops behind its last commit, the store is closed. When the store fails, the engine
//! opens it again; where it cannot and no flag is on, the process ends with the chain of causes, and a restart finds out what
//! was kept.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rollout_api::Exit;
use rollout_engine::store::{
    OnDamage, OpenOptions, OpenReport, Origin, SledSource, SledStore, StoreError,
};
use rollout_engine::{Clock, Engine, EngineError, Handle, pass_alarms_on};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tracing::{info, warn};

use crate::access::Peer;
use crate::config::Config;
use crate::endpoints::Endpoints;
use crate::observe::Performer;
use crate::quarantine::Quarantine;
use crate::routes::{self, App};
use crate::socket::{self, Place, SocketError};
use crate::systemd;
use crate::verify;
use crate::wiring::Deployments;

/// How long running requests may go on once the daemon stops.
const REQUESTS_MAX: Duration = Duration::from_secs(5);

/// A daemon that runs.
#[derive(Debug)]
pub(crate) struct Daemon {
    handle: Handle,
    engine: JoinHandle<Result<(), EngineError>>,
    server: JoinHandle<io::Result<()>>,
    tending: JoinHandle<()>,
    alarmed: JoinHandle<()>,
    stopping: watch::Sender<bool>,
    _place: Place,
}

/// Why the daemon did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// No threads to run on.
    #[error("failed to start")]
    Runtime {
        /// What the system said.
        source: io::Error,
    },
    /// The store cannot be opened.
    #[error("failed to open the store in {} ({})", dir.display(), source.code())]
    Store {
        /// Its directory.
        dir: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// The rollouts cannot be taken up.
    #[error("failed to take up the rollouts{}", code_words(source))]
    TakeUp {
        /// Why.
        source: EngineError,
    },
    /// The socket cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The engine stopped by itself.
    #[error("the engine stopped{}", code_words(source))]
    Engine {
        /// Why.
        source: EngineError,
    },
    /// A part of the daemon panicked.
    #[error("a part of the daemon panicked; this is a defect, please report it")]
    Panicked {
        /// Which.
        source: JoinError,
    },
    /// The socket stopped working.
    #[error("the socket stopped working")]
    Server {
        /// What the system said; `None` = it ended without a word.
        source: Option<io::Error>,
    },
}

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
///
/// [`ServeError`] when it does not start, or ends by itself.
pub(crate) async fn until_told(
    config: Config,
    damage: OnDamage,
    clock: Arc<dyn Clock>,
) -> Result<(), ServeError> {
    let runtime = |source| ServeError::Runtime { source };
    // From here on a signal is kept, also while the store is being opened.
    let mut terminate = signal(SignalKind::terminate()).map_err(runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(runtime)?;
    let told = async move {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM: stopping"),
            _ = interrupt.recv() => info!("SIGINT: stopping"),
        }
    };
    Daemon::start_over(config, damage, clock).await?.run(told).await
}

impl Daemon {
    /// Opens the store, takes up every live rollout and listens. Must run inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ServeError`]; nothing runs then.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self, ServeError> {
        Self::start_over(config, OnDamage::Refuse, clock).await
    }

    /// As `Daemon::start`, and says what is to be done about a damaged store.
    ///
    /// # Errors
    ///
    /// [`ServeError`]; nothing runs then.
    pub(crate) async fn start_over(
        config: Config,
        damage: OnDamage,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ServeError> {
        info!(version = env!("CARGO_PKG_VERSION"), "starting");
        let deployments = Arc::new(Deployments::new(&config.deployments, &clock));
        let endpoints = Arc::new(Endpoints::new(&config.endpoints));
        let (performer, alarmed) = Performer::new(Arc::clone(&deployments), Arc::clone(&endpoints));
        let options = OpenOptions { damage, ..OpenOptions::default() };
        let source = SledSource::new(&config.store_dir(), options);
        let (store, report, quarantine) = open(config.store_dir(), source.clone()).await?;
        let origin = report.origin;
        let begun_at = (origin == Origin::Created).then(|| clock.now());
        // Setting aside is for this start alone, with a person at hand.
        let source = source.refusing_damage();
        // Before the engine performs anything: with a socket that cannot be had, nothing should have happened.
        socket::check_free(&config.socket)?;
        let take_up = |source| ServeError::TakeUp { source };
        let opened = Engine::open_with(
            Box::new(store),
            Arc::new(source),
            Arc::clone(&clock),
            Arc::new(performer),
        );
        let (engine, handle) = opened.await.map_err(take_up)?;
        let (listener, place) = socket::listen(&config.socket, config.socket_mode)?;
        let stopping = watch::Sender::new(false);
        let app = App {
            handle: handle.clone(),
            deployments,
            endpoints,
            operators: config.operators,
            started_at: clock.now(),
            begun_at,
            quarantine,
            clock,
            socket: config.socket.clone(),
            stopping: stopping.subscribe(),
        };
        let router = routes::router(app).into_make_service_with_connect_info::<Peer>();
        let told = until(stopping.subscribe());
        let server = axum::serve(listener, router).with_graceful_shutdown(told);
        info!(socket = %config.socket.display(), "listening");
        // Whoever connects from here on is answered. Before the tending, whose first message must not come first.
        systemd::ready();
        Ok(Self {
            engine: tokio::spawn(engine.run()),
            server: tokio::spawn(server.into_future()),
            tending: tokio::spawn(systemd::tend(handle.clone(), origin, stopping.subscribe())),
            alarmed: tokio::spawn(pass_alarms_on(
                alarmed,
                handle.clone(),
                until(stopping.subscribe()),
            )),
            handle,
            stopping,
            _place: place,
        })
    }

    /// Runs until `told`, then stops in good order.
    ///
    /// # Errors
    ///
    /// [`ServeError`] when a part ends by itself.
    pub(crate) async fn run(mut self, told: impl Future<Output = ()>) -> Result<(), ServeError> {
        let early = tokio::select! {
            ended = &mut self.engine => Some(Early::Engine(ended)),
            ended = &mut self.server => Some(Early::Server(ended)),
            () = told => None,
        };
        systemd::stopping();
        self.stopping.send_replace(true);
        if !matches!(early, Some(Early::Server(_))) {
            self.end_requests().await;
        }
        self.handle.stop().await;
        // Tending ends with `stopping`; whatever it says was said to the service manager.
        self.tending.await.ok();
        self.alarmed.await.ok();
        match early {
            Some(Early::Engine(ended)) => Err(engine_error(ended)),
            Some(Early::Server(ended)) => {
                self.engine.await.ok();
                Err(server_error(ended))
            }
            None => match self.engine.await {
                Ok(Ok(())) => Ok(()),
                failed => Err(engine_error(failed)),
            },
        }
    }

    /// Gives running requests a moment.
    async fn end_requests(&mut self) {
        if tokio::time::timeout(REQUESTS_MAX, &mut self.server).await.is_err() {
            warn!("some requests did not end in time and were cut off");
            self.server.abort();
        }
    }
}

/// A part that ended without being told to.
enum Early {
    Engine(Result<Result<(), EngineError>, JoinError>),
    Server(Result<io::Result<()>, JoinError>),
}

impl ServeError {
    /// How the process ends: 3 where another try cannot help and a person must look first.
    pub(crate) fn exit(&self) -> Exit {
        let store = match self {
            Self::Store { source, .. } => Some(source),
            Self::TakeUp { source: EngineError::Store(source) } => Some(source),
            Self::TakeUp { source: EngineError::Record { .. } } => return Exit::Refused,
            Self::Socket(SocketError::NotASocket { .. }) => return Exit::Usage,
            Self::Runtime { .. }
            | Self::TakeUp { .. }
            | Self::Socket(_)
            | Self::Engine { .. }
            | Self::Panicked { .. }
            | Self::Server { .. } => None,
        };
        let needs_a_person =
            store.is_some_and(|error| matches!(error.code(), "RO0201" | "RO0202" | "RO0203"));
        if needs_a_person { Exit::Refused } else { Exit::Failed }
    }

    /// What a person can do about a store that was refused; empty for everything else.
    pub(crate) fn advice(&self) -> String {
        match self {
            Self::Store { source, .. } | Self::TakeUp { source: EngineError::Store(source) } => {
                verify::advice(source)
            }
            Self::Runtime { .. }
            | Self::TakeUp { .. }
            | Self::Socket(_)
            | Self::Engine { .. }
            | Self::Panicked { .. }
            | Self::Server { .. } => String::new(),
        }
    }
}

async fn open(
    dir: PathBuf,
    source: SledSource,
) -> Result<(SledStore, OpenReport, Quarantine), ServeError> {
    let opened = tokio::task::spawn_blocking(move || source.open_now());
    let opened = opened.await.map_err(|source| ServeError::Panicked { source })?;
    let (store, report) =
        opened.map_err(|source| ServeError::Store { dir: dir.clone(), source })?;
    let quarantine = Quarantine::read(&dir, &report.quarantined);
    announce(&dir, &report, &quarantine);
    Ok((store, report, quarantine))
}

fn announce(dir: &Path, report: &OpenReport, quarantine: &Quarantine) {
    let OpenReport { origin, commits, live, ended, .. } = report;
    info!(dir = %dir.display(), commits, live, ended, "opened the store");
    if *origin == Origin::Created {
        warn!(
            dir = %dir.display(),
            "there was no store there, so a new and empty one was begun. If rollouts were running, stop rolloutd now and look \
             whether the file system of the state directory is mounted: nobody watches their flags"
        );
    }
    for repair in &report.repairs {
        warn!("the store was put right: {repair}");
    }
    for aside in &report.quarantined {
        let flags = quarantine.flags_of(aside.rollout);
        let flags = flags.map(|flags| format!(", {flags}")).unwrap_or_default();
        warn!(rollout = %aside.rollout, code = "RO0208", place = aside.place, "quarantined, so nobody watches its flags{flags}: {}", aside.why);
    }
}

async fn until(mut stopping: watch::Receiver<bool>) {
    // The sender outlives the server; were it gone, stopping would be right as well.
    stopping.wait_for(|stopping| *stopping).await.ok();
}

fn engine_error(ended: Result<Result<(), EngineError>, JoinError>) -> ServeError {
    match ended {
        Ok(Ok(())) => ServeError::Engine { source: EngineError::Stopped },
        Ok(Err(source)) => ServeError::Engine { source },
        Err(source) => ServeError::Panicked { source },
    }
}

fn server_error(ended: Result<io::Result<()>, JoinError>) -> ServeError {
    match ended {
        Ok(result) => ServeError::Server { source: result.err() },
        Err(source) => ServeError::Panicked { source },
    }
}

fn code_words(error: &EngineError) -> String {
    match error {
        EngineError::Store(source) => format!(" ({})", source.code()),
        EngineError::Unrecorded { .. } => " (RO0210)".to_owned(),
        EngineError::OnReserve => " (RO0211)".to_owned(),
        EngineError::Record { .. }
        | EngineError::UnknownRollout(_)
        | EngineError::Quarantined(_)
        | EngineError::Rejected(_)
        | EngineError::DeploymentBusy { .. }
        | EngineError::FlagLocked { .. }
        | EngineError::KeyReused(_)
        | EngineError::ChangeWindow { .. }
        | EngineError::Stopped => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::future::pending;

    use rollout_engine::SystemClock;

    use super::*;
    use crate::access::Operators;

    fn config(dir: &Path) -> Config {
        Config {
            state_dir: dir.to_owned(),
            socket: dir.join("d.sock"),
            socket_mode: 0o600,
            credentials_dir: dir.to_owned(),
            deployments: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            operators: Operators::Anyone,
        }
    }

    async fn start(config: Config) -> Result<Daemon, ServeError> {
        Daemon::start(config, Arc::new(SystemClock::new())).await
    }

    #[tokio::test]
    async fn an_engine_that_stops_by_itself_ends_the_daemon_with_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let daemon = start(config(dir.path())).await.unwrap();
        daemon.handle.stop().await;
        let ended = tokio::time::timeout(Duration::from_secs(20), daemon.run(pending())).await;
        let error = ended.unwrap().unwrap_err();
        assert!(matches!(error, ServeError::Engine { .. }), "{error:?}");
        assert_eq!(error.exit(), Exit::Failed);
    }

    #[tokio::test]
    async fn a_store_that_needs_a_person_is_told_apart_from_one_that_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let daemon = start(config(dir.path())).await.unwrap();
        let in_use = start(config(dir.path())).await.unwrap_err();
        assert!(in_use.to_string().contains("RO0204"), "{in_use}");
        assert_eq!(in_use.exit(), Exit::Failed);
        daemon.run(async {}).await.unwrap();
        let format = config(dir.path()).store_dir().join("format");
        std::fs::write(format, "rolloutd store format 99\n").unwrap();
        let too_new = start(config(dir.path())).await.unwrap_err();
        assert!(too_new.to_string().contains("RO0201"), "{too_new}");
        assert_eq!(too_new.exit(), Exit::Refused);
    }

    #[tokio::test]
    async fn a_place_that_is_taken_is_refused_before_anything_runs() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        std::fs::write(&config.socket, "precious").unwrap();
        let refused = start(config).await.unwrap_err();
        assert!(refused.to_string().contains("is not a socket"), "{refused}");
        assert_eq!(refused.exit(), Exit::Usage);
    }
}
