//! Owns `events`: the journal, one line an event.

use rollout_api::{Exit, JournalEntry};

use super::Session;
use crate::cli::Format;
use crate::failure::Failure;
use crate::follow::{Follower, Next, other_journal};
use crate::render::time::local;

/// Entries per call; a page of them is well below the daemon's limits.
const PAGE: u32 = 500;

impl Session<'_, '_> {
    pub(super) async fn events(mut self, id: &str, after: u64) -> Result<Exit, Failure> {
        let mut after = Some(after);
        while let Some(from) = after {
            let page = self.client.events(id, from, PAGE).await?;
            for entry in &page.events {
                self.print_entry(entry)?;
            }
            after = page.next_after.filter(|next| *next > from);
        }
        Ok(Exit::Done)
    }

    /// Prints what has happened and what happens, until the rollout has ended and its last entry is printed.
    pub(super) async fn follow_events(mut self, id: &str, after: u64) -> Result<Exit, Failure> {
        let client = self.client.clone();
        let mut rollout = client.get(id).await?.summary;
        let mut follower = Follower::new(&client, id, after);
        let mut printed = after;
        while !(rollout.is_ended() && printed >= rollout.seq) {
            match follower.next(self.io).await? {
                Next::Entry(entry) => {
                    self.print_entry(&entry)?;
                    printed = entry.seq;
                }
                Next::Anew => {
                    self.io
                        .say(&format!("{}; it is shown from its first entry", other_journal(id)));
                    (printed, rollout) = (0, follower.detail(self.io).await?.summary);
                }
            }
            if printed >= rollout.seq && !rollout.is_ended() {
                rollout = follower.detail(self.io).await?.summary;
            }
        }
        Ok(Exit::Done)
    }

    fn print_entry(&mut self, entry: &JournalEntry) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.io.print_json(entry)?,
            Format::Text => {
                let JournalEntry { seq, actor, text, .. } = entry;
                let why = entry.note.as_ref().map(|note| format!(" — {note}")).unwrap_or_default();
                let line = format!(
                    "{seq:>5}  {}  {actor:<10}  {text}{why}",
                    local(&entry.at, &self.env.zone)
                );
                self.io.print_line(&line.replace('\n', " "))?;
            }
        }
        Ok(())
    }
}
