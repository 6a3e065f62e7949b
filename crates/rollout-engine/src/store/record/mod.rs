//! Owns the bytes of a journal event: format versions 1 to 3, frozen.
//!
//! A record is `version u16` and then the event as [`EventRecordV3`], little-endian, fixed width, positional: an enum is
//! the index of its variant, a field is known only by its place. So in the structs of this module **the order of fields
//! and of variants is frozen**, and so is every type; their names are free. Core types never go to disk: they may be
//! renamed and reordered at will, and a core type that gains a field or a variant stops compiling here.
//!
//! A variant that is added to the end of an enum is a new version that is read and written through the same structs: what
//! an earlier version wrote means what it meant, and an earlier build names the later version instead of calling it damage.
//! Any other change is a second set of structs, and the first is read for ever. Version 2 added a look back, policies for
//! what is missed, and two causes. Version 3 has plans and readings of its own (`before.rs` reads those of versions 1 and 2):
//! sources beyond functions, policies for drift and code pushes, what a value stands on, who wrote a flag. The files in `tests/fixtures/format-v*/events/` hold every variant as each version wrote
//! it; the tests read them and write them again, byte by byte.
//!
//! Refuses a later version by name, and whatever is not exactly one event: too short, too long, a value that the core
//! does not know. Plans are taken as they are, never judged again. Invariant: one event has one encoding, so what can be
//! read is written again with the same bytes.

mod before;
mod event;
mod mirror;
mod plan;
mod reading;

use rollout_core::Event;
use serde::de::DeserializeOwned;

pub use self::event::{EventRecordV1, EventRecordV3};
use self::mirror::{Mirror, Misfit};
use super::codec::{self, CodecError};

/// Encodes an event for the journal, in the newest format.
///
/// # Errors
/// [`CodecError::Encode`] when it is larger than [`super::RECORD_BYTES_MAX`].
pub fn encode_event(event: &Event) -> Result<Vec<u8>, CodecError> {
    codec::encode(&(FORMAT, EventRecordV3::to_disk(event)))
}

/// Decodes an event that [`encode_event`] wrote, in this version or in an earlier one.
///
/// # Errors
/// [`RecordError::TooNew`] for the record of a later version, the others for bytes that are no event.
pub fn decode_event(bytes: &[u8]) -> Result<Event, RecordError> {
    let (version, record) = bytes.split_first_chunk().ok_or(RecordError::NoFormat)?;
    match u16::from_le_bytes(*version) {
        0 => Err(RecordError::NoFormat),
        1..=2 => read::<EventRecordV1>(record),
        FORMAT => read::<EventRecordV3>(record),
        found => Err(RecordError::TooNew { found, known: FORMAT }),
    }
}

/// Why bytes of the journal are no event.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Written by a later version.
    #[error(
        "read event format {found}: this version knows formats up to {known}, so a later version wrote it"
    )]
    TooNew {
        /// The format that was found.
        found: u16,
        /// The newest that this build reads.
        known: u16,
    },
    /// Nothing there says which version wrote it.
    #[error("read the event: it does not begin with a format version")]
    NoFormat,
    /// The bytes do not have the shape of an event.
    #[error("read the event")]
    Codec(#[source] CodecError),
    /// The shape is right, but a value is none that the core knows.
    #[error("read the field `{field}` of the event: {found} is not {expected}")]
    Field {
        /// Path of the field: `kind.FlagsSet.wrote.0`.
        field: String,
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
}

impl RecordError {
    /// The stable code, as in `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooNew { .. } => "RO0201",
            Self::NoFormat | Self::Codec(_) | Self::Field { .. } => "RO0202",
        }
    }
}

/// Reads one version's form.
fn read<Record: Mirror<Event> + DeserializeOwned>(bytes: &[u8]) -> Result<Event, RecordError> {
    let record = codec::decode::<Record>(bytes).map_err(RecordError::Codec)?;
    Record::from_disk(record).map_err(RecordError::from)
}

impl From<Misfit> for RecordError {
    fn from(misfit: Misfit) -> Self {
        let Misfit { field, expected, found } = misfit;
        Self::Field { field, expected, found }
    }
}

/// The version that this build writes, and the newest it reads.
const FORMAT: u16 = 3;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
