//! Owns the bytes of a row and of a record; the only file that names bincode.
//!
//! A row is `magic 0xA7 · kind u8 · version u16 · len u32 · payload · crc32`, little-endian. The checksum also covers
//! the table and the key, so a row that turns up in another place is caught like a flipped bit.
//!
//! bincode runs with fixed-width little-endian integers and a byte limit, and trailing bytes are an error. Refuses
//! rows of a later version by name instead of misreading them.

use bincode::Options as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Encodes a record (a journal entry's payload).
///
/// # Errors
/// [`CodecError::Encode`] when it does not fit [`RECORD_BYTES_MAX`].
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    options(RECORD_BYTES_MAX).serialize(value).map_err(CodecError::Encode)
}

/// Decodes a record that [`encode`] wrote.
///
/// # Errors
/// [`CodecError::Decode`] for anything else: too short, too long, or not a value of `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    options(RECORD_BYTES_MAX).deserialize(bytes).map_err(CodecError::Decode)
}

/// Why bytes could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The value does not fit its limit.
    #[error("encode the record")]
    Encode(#[source] bincode::Error),
    /// The bytes are not such a value.
    #[error("decode the record")]
    Decode(#[source] bincode::Error),
    /// The bytes do not fit the checksum, the place, or the shape of a row.
    #[error("check the row: bytes and place do not fit the checksum")]
    Checksum,
    /// A sound row, but of another kind than belongs here.
    #[error("check the row: kind {found} does not belong here")]
    Kind {
        /// The kind that was found.
        found: u8,
    },
    /// A sound row of a later version.
    #[error("read row version {found}: this version knows rows up to {ROW_VERSION}")]
    Newer {
        /// The version that was found.
        found: u16,
    },
}

/// Where a row lives. Part of its checksum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// Name of the table.
    pub(super) table: &'static str,
    /// The row's key.
    pub(super) key: &'a [u8],
}

/// What a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum RowKind {
    Schema = 1,
    Incarnation = 2,
    Commits = 3,
    Journal = 4,
    Head = 5,
    Part = 6,
    Idempotency = 7,
    Aside = 8,
}

/// Encodes `row` and puts it into the envelope for `place`.
pub(super) fn seal<T: Serialize>(
    place: Place<'_>,
    kind: RowKind,
    row: &T,
) -> Result<Vec<u8>, CodecError> {
    let payload = options(ROW_PAYLOAD_BYTES_MAX).serialize(row).map_err(CodecError::Encode)?;
    Ok(envelope(place, kind, ROW_VERSION, &payload))
}

/// Checks the envelope found at `place` and decodes what is in it.
pub(super) fn unseal<T: DeserializeOwned>(
    place: Place<'_>,
    kind: RowKind,
    row: &[u8],
) -> Result<T, CodecError> {
    let payload = payload_of(place, kind, row)?;
    options(ROW_PAYLOAD_BYTES_MAX).deserialize(payload).map_err(CodecError::Decode)
}

/// Puts raw bytes into the envelope for `place`.
pub(super) fn seal_bytes(place: Place<'_>, kind: RowKind, bytes: &[u8]) -> Vec<u8> {
    envelope(place, kind, ROW_VERSION, bytes)
}

/// Checks the envelope found at `place`; answers its raw bytes.
pub(super) fn unseal_bytes<'a>(
    place: Place<'_>,
    kind: RowKind,
    row: &'a [u8],
) -> Result<&'a [u8], CodecError> {
    payload_of(place, kind, row)
}

fn envelope(place: Place<'_>, kind: RowKind, version: u16, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a row payload is limited to a few KiB");
    let mut row = Vec::with_capacity(HEADER_BYTES + payload.len() + CHECKSUM_BYTES);
    row.extend_from_slice(&[MAGIC, kind as u8]);
    row.extend_from_slice(&version.to_le_bytes());
    row.extend_from_slice(&len.to_le_bytes());
    row.extend_from_slice(payload);
    let checksum = checksum(place, &row);
    row.extend_from_slice(&checksum.to_le_bytes());
    row
}

fn payload_of<'a>(place: Place<'_>, kind: RowKind, row: &'a [u8]) -> Result<&'a [u8], CodecError> {
    let (body, stored) = row.split_last_chunk::<CHECKSUM_BYTES>().ok_or(CodecError::Checksum)?;
    if checksum(place, body) != u32::from_le_bytes(*stored) {
        return Err(CodecError::Checksum);
    }
    let (&header, payload) =
        body.split_first_chunk::<HEADER_BYTES>().ok_or(CodecError::Checksum)?;
    let [magic, found, version_low, version_high, len @ ..] = header;
    if magic != MAGIC || usize::try_from(u32::from_le_bytes(len)) != Ok(payload.len()) {
        return Err(CodecError::Checksum);
    }
    let version = u16::from_le_bytes([version_low, version_high]);
    if version > ROW_VERSION {
        return Err(CodecError::Newer { found: version });
    }
    if found != kind as u8 {
        return Err(CodecError::Kind { found });
    }
    Ok(payload)
}

fn checksum(place: Place<'_>, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(place.table.as_bytes());
    hasher.update(place.key);
    hasher.update(body);
    hasher.finalize()
}

fn options(limit_bytes: usize) -> impl bincode::Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_little_endian()
        .with_limit(limit_bytes as u64)
        .reject_trailing_bytes()
}

/// Largest record: a frozen plan with every phase, check and text in it stays below 512 KiB.
pub const RECORD_BYTES_MAX: usize = 512 * 1024;

/// Largest row with its envelope: sled puts bigger pages into `blobs/`, which it never syncs.
pub(super) const ROW_BYTES_MAX: usize = 8 * 1024;

/// The version that this build writes, and the newest it reads.
pub(super) const ROW_VERSION: u16 = 1;

const ROW_PAYLOAD_BYTES_MAX: usize = ROW_BYTES_MAX - HEADER_BYTES - CHECKSUM_BYTES;
const MAGIC: u8 = 0xA7;
const HEADER_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = Place { table: "journal", key: &[0, 1] };

    #[test]
    fn a_sealed_row_keeps_its_bytes_for_ever() {
        let row = seal(PLACE, RowKind::Journal, &(7_u16, "ab")).unwrap();
        let golden: [u8; 24] = [
            0xA7, 4, 1, 0, 12, 0, 0, 0, // header
            7, 0, 2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b', // payload
            96, 12, 222, 57, // crc32 over "journal", the key, header and payload
        ];
        assert_eq!(row, golden);
        assert_eq!(
            unseal::<(u16, String)>(PLACE, RowKind::Journal, &golden).unwrap(),
            (7, "ab".to_owned())
        );
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_caught() {
        let row = seal(PLACE, RowKind::Head, &[9_u8; 20]).unwrap();
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = unseal::<[u8; 20]>(PLACE, RowKind::Head, &flipped);
            assert!(matches!(read, Err(CodecError::Checksum)), "bit {bit}: {read:?}");
        }
        for len in 0..row.len() {
            let read = unseal::<[u8; 20]>(PLACE, RowKind::Head, &row[..len]);
            assert!(matches!(read, Err(CodecError::Checksum)), "cut to {len}: {read:?}");
        }
    }

    #[test]
    fn a_row_is_bound_to_its_table_key_and_kind() {
        let row = seal_bytes(PLACE, RowKind::Part, b"part");
        assert_eq!(unseal_bytes(PLACE, RowKind::Part, &row).unwrap(), b"part");
        let other_key = Place { key: &[0, 2], ..PLACE };
        assert!(matches!(unseal_bytes(other_key, RowKind::Part, &row), Err(CodecError::Checksum)));
        let other_table = Place { table: "heads", ..PLACE };
        assert!(matches!(
            unseal_bytes(other_table, RowKind::Part, &row),
            Err(CodecError::Checksum)
        ));
        assert!(matches!(
            unseal_bytes(PLACE, RowKind::Head, &row),
            Err(CodecError::Kind { found: 6 })
        ));
    }

    #[test]
    fn a_later_version_is_named_and_not_misread() {
        let row = envelope(PLACE, RowKind::Head, ROW_VERSION + 1, b"from the future");
        assert!(matches!(
            unseal_bytes(PLACE, RowKind::Head, &row),
            Err(CodecError::Newer { found: 2 })
        ));
    }

    #[test]
    fn records_refuse_trailing_bytes_bad_lengths_and_too_much() {
        let record = encode(&vec![1_u8, 2, 3]).unwrap();
        assert_eq!(decode::<Vec<u8>>(&record).unwrap(), [1, 2, 3]);
        let longer = [record.as_slice(), &[0]].concat();
        assert!(matches!(decode::<Vec<u8>>(&longer), Err(CodecError::Decode(_))));
        let claims_too_much = u64::MAX.to_le_bytes();
        assert!(matches!(decode::<Vec<u8>>(&claims_too_much), Err(CodecError::Decode(_))));
        let largest = vec![0_u8; RECORD_BYTES_MAX - 8];
        assert_eq!(encode(&largest).unwrap().len(), RECORD_BYTES_MAX);
        assert!(matches!(encode(&vec![0_u8; RECORD_BYTES_MAX - 7]), Err(CodecError::Encode(_))));
    }
}
