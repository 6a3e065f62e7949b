//! Owns the start path: every live journal is read, checked and folded. Resuming after a crash and starting empty are the
//! same thing here.

use std::sync::Arc;

use rollout_core::{Event, Rollout, RolloutId, Seq};

use crate::board::Board;
use crate::error::EngineError;
use crate::handle::Entry;
use crate::store::record::decode_event;
use crate::store::{Inventory, Standing, WriterHandle};

/// Loads every live rollout; ended ones are only noted, and so are those that were set aside.
pub(crate) async fn load(store: &WriterHandle) -> Result<Board, EngineError> {
    let mut board = Board::default();
    let Inventory { heads, quarantined, .. } = store.inventory().await?;
    quarantined.into_iter().for_each(|aside| board.note_quarantined(aside));
    for head in heads {
        match head.standing {
            Standing::Ended => board.note_ended(head.rollout),
            Standing::Live => board.put(load_one(store, head.rollout).await?),
        }
    }
    Ok(board)
}

/// Loads and folds one rollout.
pub(crate) async fn load_one(
    store: &WriterHandle,
    id: RolloutId,
) -> Result<Arc<Rollout>, EngineError> {
    let entries = read_journal(store, id, Seq::FIRST).await?;
    let events: Vec<Event> = entries.into_iter().map(|entry| entry.event).collect();
    let folded = Rollout::replay(&events);
    let rollout = folded.map_err(|error| EngineError::Record {
        rollout: id,
        seq: 1,
        why: error.to_string(),
    })?;
    Ok(Arc::new(rollout))
}

/// Reads events from the store, checked and decoded.
pub(crate) async fn read_journal(
    store: &WriterHandle,
    id: RolloutId,
    from: Seq,
) -> Result<Vec<Entry>, EngineError> {
    decoded(id, store.journal(id, from).await?)
}

/// Reads at most `max` events from the store, checked and decoded.
pub(crate) async fn read_page(
    store: &WriterHandle,
    id: RolloutId,
    from: Seq,
    max: usize,
) -> Result<Vec<Entry>, EngineError> {
    decoded(id, store.page(id, from, max).await?)
}

fn decoded(id: RolloutId, entries: Vec<crate::store::Entry>) -> Result<Vec<Entry>, EngineError> {
    let decode = |entry: crate::store::Entry| {
        let record = decode_event(&entry.payload);
        let event = record.map_err(|error| EngineError::Record {
            rollout: id,
            seq: entry.seq.get(),
            why: error.to_string(),
        })?;
        Ok(Entry { seq: entry.seq, event })
    };
    entries.into_iter().map(decode).collect()
}
