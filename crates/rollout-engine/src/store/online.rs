//! Owns long reads of a store that is in use: a backup and a check of everything, one journal after the other, so that
//! commits go on in between.
//!
//! Both see the store as it stood at one moment: the heads are read once, and what was appended since is left out.

use std::collections::VecDeque;

use rollout_core::Seq;

use super::backup::{About, Encoder};
use super::findings::{Finding, Survey, Surveyed, Unsettled};
use super::{Age, Entry, Head, IdempotencyRow, Quarantined, Standing, StoreError, WriterHandle};

/// Everything of a store but its journals, as of one moment.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// Every head, in id order.
    pub heads: Vec<Head>,
    /// Every idempotency row.
    pub keys: Vec<IdempotencyRow>,
    /// Rollouts that were set aside.
    pub quarantined: Vec<Quarantined>,
    /// How far the store has come.
    pub age: Age,
}

/// A backup of a running store, handed out in pieces.
#[derive(Debug)]
pub struct BackupStream {
    store: WriterHandle,
    encoder: Option<Encoder>,
    heads: VecDeque<Head>,
    keys: Vec<IdempotencyRow>,
    quarantined: Vec<Quarantined>,
    first: Option<Vec<u8>>,
}

impl BackupStream {
    /// Fixes the moment that the backup shows. `made_at` in seconds since 1970.
    ///
    /// # Errors
    /// Those of [`WriterHandle::inventory`].
    pub async fn begin(
        store: WriterHandle,
        made_at: i64,
        version: &str,
    ) -> Result<Self, StoreError> {
        let Inventory { heads, keys, quarantined, age } = store.inventory().await?;
        let mut encoder = Encoder::new();
        let first = Some(encoder.begin(&About { made_at, version: version.to_owned(), age }));
        let (encoder, heads) = (Some(encoder), heads.into());
        Ok(Self { store, encoder, heads, keys, quarantined, first })
    }

    /// The next piece of the file; `None` once it is complete.
    ///
    /// # Errors
    /// `RO0202` when a journal is damaged: the backup has no end then, and cannot be restored.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let Some(head) = self.heads.pop_front() else {
            let encoder = self.encoder.take();
            return Ok(encoder.map(|encoder| encoder.end(&self.keys, &self.quarantined)));
        };
        let entries = self.store.journal(head.rollout, Seq::FIRST).await?;
        let own = own_part(&head, &entries);
        Ok(self.encoder.as_mut().map(|encoder| encoder.rollout(&head, own)))
    }
}

/// Checks every journal of a running store.
///
/// # Errors
/// `RO0207` when the store is closed, `RO0205` for the disk; damage of a journal is in the survey.
pub async fn survey(store: &WriterHandle) -> Result<Survey, StoreError> {
    let Inventory { heads, keys, quarantined, .. } = store.inventory().await?;
    let mut survey = Survey { keys: keys.len() as u64, quarantined, ..Survey::default() };
    for Head { rollout, seq, standing, .. } in heads {
        let (is_live, head_standing) = (standing == Standing::Live, Some(standing));
        let unsettled = match store.journal(rollout, Seq::FIRST).await {
            Ok(entries) if is_live => {
                let own = entries.iter().take_while(|entry| entry.seq <= seq);
                Unsettled::of(own.map(|entry| entry.payload.as_slice()))
            }
            Ok(_) => None,
            Err(StoreError::Damaged { rollout, seq, what }) => {
                survey.findings.note(Finding { rollout, seq, what, standing: head_standing });
                None
            }
            Err(error) => return Err(error),
        };
        let (entries, standing) = (seq.get(), head_standing);
        survey.rollouts.push(Surveyed { rollout, entries, standing, unsettled });
    }
    Ok(survey)
}

/// The entries up to the head.
fn own_part<'a>(head: &Head, entries: &'a [Entry]) -> impl Iterator<Item = &'a Entry> {
    let last = head.seq;
    entries.iter().take_while(move |entry| entry.seq <= last)
}
