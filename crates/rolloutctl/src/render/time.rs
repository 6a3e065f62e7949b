//! Owns moments and lengths of time as people read them: local clock, hours and minutes.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A moment on the local clock: `2026-11-22 10:15`. A text that is no moment is shown as it is.
pub(crate) fn local(text: &str, zone: &TimeZone) -> String {
    on_clock(text, zone, "%Y-%m-%d %H:%M")
}

/// The same with the clock's offset, said once a page: `2026-11-22 10:15 (UTC-06:00)`.
pub(crate) fn local_with_offset(text: &str, zone: &TimeZone) -> String {
    on_clock(text, zone, "%Y-%m-%d %H:%M (UTC%:z)")
}

/// The moments in a sentence, `2026-11-22T16:15:08Z` and `2026-11-22 16:15 UTC`, on the local clock and in one form.
pub(crate) fn localized(text: &str, zone: &TimeZone) -> String {
    let mut parts: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let core = word.trim_end_matches([',', ';', '.', ')', ':']);
        let tail = word.get(core.len()..).unwrap_or_default();
        let clock = parts.len().checked_sub(2).map(|at| parts.split_at(at).1.join("T"));
        let short = clock.filter(|_| core == "UTC").map(|clock| format!("{clock}:00Z"));
        if let Some(short) = short.filter(|short| short.parse::<Timestamp>().is_ok()) {
            parts.truncate(parts.len() - 2);
            parts.push(local(&short, zone) + tail);
        } else {
            parts.push(on_clock(core, zone, "%Y-%m-%d %H:%M:%S") + tail);
        }
    }
    parts.join(" ")
}

fn on_clock(text: &str, zone: &TimeZone, format: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(moment) => moment.to_zoned(zone.clone()).strftime(format).to_string(),
        Err(_) => text.to_string(),
    }
}

/// A length of time: `24h`, `1h 30m`, `45s`, `0s`.
pub(crate) fn length(secs: u64) -> String {
    let (hours, minutes, seconds) = (secs / 3_600, secs / 60 % 60, secs % 60);
    let parts = [(hours, "h"), (minutes, "m"), (seconds, "s")];
    let shown: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if shown.is_empty() { "0s".to_string() } else { shown.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_on_the_local_clock() {
        let zone = TimeZone::fixed(jiff::tz::offset(-6));
        assert_eq!(local("2025-12-16T12:52:40Z", &zone), "2025-12-16 06:52");
        assert_eq!(local("soon", &zone), "soon");
    }

    #[test]
    fn moments_in_a_sentence_are_in_one_form() {
        let zone = TimeZone::fixed(jiff::tz::offset(-6));
        let said =
            "r1: next try at 2025-12-16T12:52:08Z; held since 2025-12-16 12:50 UTC, UTC was it";
        let shown = "r1: next try at 2025-12-16 06:52:08; held since 2025-12-16 06:50, UTC was it";
        assert_eq!(localized(said, &zone), shown);
        assert_eq!(localized("", &zone), "");
    }

    #[test]
    fn lengths_are_hours_and_minutes() {
        assert_eq!(
            [0, 45, 900, 5_400, 86_400, 172_805].map(length),
            ["0s", "45s", "15m", "1h 30m", "24h", "48h 5s"]
        );
    }
}
