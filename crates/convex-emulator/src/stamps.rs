//! Ids and creation times of rows, deterministic and never repeated.
//!
//! Creation times are milliseconds as a float and grow strictly, even when the clock stands still
//! or goes back: a client may rely on a rewritten row having another creation time.

use jiff::Timestamp;

/// Id and creation time of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Stamp {
    /// 32 lower-case characters.
    pub id: String,
    /// Milliseconds since the epoch.
    pub creation_time: f64,
}

/// Hands out stamps.
#[derive(Debug, Clone, Default)]
pub struct Stamps {
    count: u64,
    last_creation_time: f64,
}

impl Stamps {
    /// Makes the next stamp at `now`.
    pub fn next(&mut self, now: Timestamp) -> Stamp {
        self.count += 1;
        let creation_time = to_millis(now).max(self.last_creation_time + CREATION_TIME_STEP_MS);
        self.last_creation_time = creation_time;
        Stamp { id: row_id(self.count, "row"), creation_time }
    }

    /// Makes the next request id: 16 hexadecimal characters.
    pub fn next_request_id(&mut self) -> String {
        self.count += 1;
        format!("{:016x}", hash(self.count, "request"))
    }
}

/// Milliseconds since the epoch with their fraction, as Convex shows times.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "microseconds of this age fit into 53 bits")]
pub fn to_millis(at: Timestamp) -> f64 {
    at.as_microsecond() as f64 / 1000.0
}

/// A document id: 32 characters of a lower-case base 32 alphabet, the same for the same input.
#[must_use]
pub fn row_id(count: u64, salt: &str) -> String {
    let words =
        [hash(count, salt), hash(count, "second"), hash(!count, salt), hash(!count, "last")];
    let bytes = words.into_iter().flat_map(u64::to_le_bytes);
    bytes.map(|byte| char::from(ID_ALPHABET[usize::from(byte % 32)])).collect()
}

/// A well-mixed number, the same for the same input in every build and on every machine.
#[must_use]
pub fn hash(number: u64, salt: &str) -> u64 {
    // FNV-1a over the salt, then the finalizer of splitmix64.
    let start = salt.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut z = start.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Smallest distance of two creation times; a float holds 0.0003 ms at this magnitude.
const CREATION_TIME_STEP_MS: f64 = 0.001;
const ID_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creation_times_grow_even_when_the_clock_goes_back() {
        let mut stamps = Stamps::default();
        let now: Timestamp = "2026-08-21T10:00:00.5Z".parse().unwrap();
        let first = stamps.next(now);
        let second = stamps.next(now);
        let third = stamps.next(Timestamp::UNIX_EPOCH);
        assert_eq!(first.creation_time, 1_787_306_400_500.0);
        assert!(first.creation_time < second.creation_time);
        assert!(second.creation_time < third.creation_time);
        assert_ne!(first.id, second.id);
    }

    #[test]
    fn ids_have_the_form_of_convex_ids() {
        let id = row_id(7, "import");
        assert_eq!(id.len(), 32);
        assert!(id.chars().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase()), "{id}");
        assert_eq!(id, row_id(7, "import"));
        assert_ne!(id, row_id(8, "import"));
        assert_ne!(id, row_id(7, "export"));
    }
}
