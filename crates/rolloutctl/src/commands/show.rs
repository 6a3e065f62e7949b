//! Owns the verbs that only show: `list`, `get`, `log`.

use rollout_api::Exit;

use super::Session;
use crate::cli::Format;
use crate::env::Screen;
use crate::failure::Failure;
use crate::follow::{Follower, Next};
use crate::render::status::line;
use crate::render::{detail, list, wrap};

impl Session<'_, '_> {
    pub(super) async fn list(self) -> Result<Exit, Failure> {
        let list = self.client.list().await?;
        if let (Format::Text, Some(notice)) = (self.format, &list.notice) {
            self.io.say(notice);
        }
        match self.format {
            Format::Json => self.io.print_json(&list)?,
            Format::Text if list.rollouts.is_empty() => {
                self.io.say("no rollouts yet; begin with `rolloutctl start PLAN.toml`");
            }
            Format::Text => self.io.print(&list::page(&list.rollouts, self.env))?,
        }
        Ok(Exit::Done)
    }

    pub(super) async fn get(self, id: &str) -> Result<Exit, Failure> {
        let rollout = self.client.get(id).await?;
        match self.format {
            Format::Json => self.io.print_json(&rollout)?,
            Format::Text => self.io.print(&detail::page(&rollout, self.env))?,
        }
        Ok(Exit::Done)
    }

    /// Shows the rollout again whenever something happens: a terminal is redrawn, a pipe gets one line per change.
    pub(super) async fn watch(self, id: &str) -> Result<Exit, Failure> {
        let mut rollout = self.client.get(id).await?;
        let mut follower = Follower::new(&self.client, id, rollout.summary.seq);
        let mut last = String::new();
        loop {
            match (self.format, self.env.stdout) {
                (Format::Json, _) => self.io.print_json(&rollout)?,
                (Format::Text, Screen::Terminal | Screen::Monochrome) => {
                    let page = detail::page(&rollout, self.env);
                    self.io.redraw(&wrap::cut(&page, id, self.env))?
                }
                (Format::Text, Screen::Pipe) => {
                    let now = line(&rollout.summary);
                    if now != last {
                        self.io.print_line(&now)?;
                    }
                    last = now;
                }
            }
            if rollout.summary.is_ended() {
                return Ok(Exit::Done);
            }
            let next = follower.next(self.io).await?;
            rollout = follower.detail(self.io).await?;
            if matches!(next, Next::Anew) {
                follower.wait_anew(self.io, rollout.summary.seq);
            }
        }
    }

    pub(super) async fn log(self, id: &str) -> Result<Exit, Failure> {
        let log = self.client.log(id).await?;
        match self.format {
            Format::Json => {
                self.io.print_json(&serde_json::json!({ "id": id, "markdown": log }))?
            }
            Format::Text => self.io.print(&log)?,
        }
        Ok(Exit::Done)
    }
}
