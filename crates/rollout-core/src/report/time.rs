//! Owns how moments and durations are written: minutes with the offset spelled out, durations in hours and smaller.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

/// Writes moments at one fixed offset from UTC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    offset: Offset,
}

impl Times {
    pub(super) fn at(offset: Offset) -> Self {
        Self { offset }
    }

    /// `2025-12-16 06:54 UTC-06:00`.
    pub(super) fn stamp(self, at: Timestamp) -> String {
        let local = self.offset.to_datetime(at);
        format!(
            "{:04}-{:02}-{:02} {:02}:{:02} {}",
            local.year(),
            local.month(),
            local.day(),
            local.hour(),
            local.minute(),
            self.zone(),
        )
    }

    /// `UTC`, `UTC-06:00`.
    pub(super) fn zone(self) -> String {
        let seconds = self.offset.seconds();
        if seconds == 0 {
            return "UTC".to_string();
        }
        let sign = if seconds < 0 { '-' } else { '+' };
        let ahead = seconds.unsigned_abs();
        let (hours, minutes, rest) = (ahead / 3_600, ahead / 60 % 60, ahead % 60);
        match rest {
            0 => format!("UTC{sign}{hours:02}:{minutes:02}"),
            rest => format!("UTC{sign}{hours:02}:{minutes:02}:{rest:02}"),
        }
    }
}

/// A duration in words: `24h`, `1h 30m`, `1m 5s`. Seconds are shown below one hour only.
pub(super) fn words(span: SignedDuration) -> String {
    let sign = if span.is_negative() { "-" } else { "" };
    let seconds = span.as_secs().unsigned_abs();
    let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let shown = [(hours, "h"), (minutes, "m"), (if hours > 0 { 0 } else { rest }, "s")];
    let parts: Vec<String> =
        shown.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    match parts.is_empty() {
        true => "0s".to_string(),
        false => format!("{sign}{}", parts.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_at_their_offset() {
        let at: Timestamp = "2025-12-16T12:54:59Z".parse().unwrap();
        let stamp = |seconds| Times::at(Offset::from_seconds(seconds).unwrap()).stamp(at);
        assert_eq!(stamp(0), "2025-12-16 12:54 UTC");
        assert_eq!(stamp(-6 * 3_600), "2025-12-16 06:54 UTC-06:00");
        assert_eq!(stamp(19_800), "2025-12-16 18:24 UTC+05:30");
        assert_eq!(stamp(-1), "2025-12-16 12:54 UTC-00:00:01");
    }

    #[test]
    fn the_ends_of_time_can_be_written() {
        for offset in [Offset::MIN, Offset::UTC, Offset::MAX] {
            assert!(Times::at(offset).stamp(Timestamp::MAX).contains("UTC"));
            assert!(Times::at(offset).stamp(Timestamp::MIN).contains("UTC"));
        }
    }

    #[test]
    fn durations_read_as_people_say_them() {
        let cases = [
            (0, "0s"),
            (59, "59s"),
            (65, "1m 5s"),
            (3_600, "1h"),
            (5_405, "1h 30m"),
            (86_400, "24h"),
            (-300, "-5m"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(words(SignedDuration::from_secs(seconds)), expected);
        }
    }
}
