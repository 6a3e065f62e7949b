//! Owns the way from a verb to the code that does it. One file per kind of verb.

mod doctor;
mod events;
mod init;
mod lint;
mod order;
mod show;
mod start;
mod status;

use rollout_api::Exit;
use rollout_api::client::Client;

use crate::cli::{Cli, Format, Verb};
use crate::env::Env;
use crate::failure::Failure;
use crate::io::Io;

/// What every verb that talks to the daemon needs.
struct Session<'a, 'io> {
    client: Client,
    format: Format,
    env: &'a Env,
    io: &'a mut Io<'io>,
}

/// Does what the command line says.
pub(crate) fn run(cli: Cli, env: &Env, io: &mut Io<'_>) -> Result<Exit, Failure> {
    if let Verb::Lint { files } = &cli.verb {
        return lint::run(files, cli.output, env, io);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    runtime.block_on(async {
        let client = Client::unix(cli.socket.as_ref().unwrap_or(&env.socket))?;
        let session = Session { client, format: cli.output, env, io };
        tokio::select! {
            ended = session.run(cli.verb) => ended,
            _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
        }
    })
}

impl Session<'_, '_> {
    async fn run(self, verb: Verb) -> Result<Exit, Failure> {
        match verb {
            Verb::Lint { files } => lint::run(&files, self.format, self.env, self.io),
            Verb::Doctor(doctor) => self.doctor(doctor).await,
            Verb::Init(init) => self.init(init).await,
            Verb::Start(start) => self.start(start).await,
            Verb::List => self.list().await,
            Verb::Get { id, watch: false } => self.get(&id.to_string()).await,
            Verb::Get { id, watch: true } => self.watch(&id.to_string()).await,
            Verb::Status { id, until: None, .. } => self.status(&id.to_string()).await,
            Verb::Status { id, until: Some(until), timeout } => {
                self.status_until(&id.to_string(), until, timeout).await
            }
            Verb::Log { id } => self.log(&id.to_string()).await,
            Verb::Events { id, follow: false, after } => self.events(&id.to_string(), after).await,
            Verb::Events { id, follow: true, after } => {
                self.follow_events(&id.to_string(), after).await
            }
            Verb::Check(check) => self.check(check).await,
            Verb::Order(command) => self.order(command).await,
        }
    }
}
