//! Owns lengths of time as people write them: `24h`, `1h 30m`, `45s`.
//!
//! Refuses what has no fixed length (months, years), what runs backward, and what is finer than a second, which is the
//! grain of everything that is shown. Days and weeks are refused with the hours they were probably meant as: around a
//! change to summer time they are not the same.

use jiff::SignedDuration;
use jiff::fmt::friendly::SpanParser;

use super::complaint::Complaint;

static PARSER: SpanParser = SpanParser::new();

/// Reads a length of time; zero is one.
pub(super) fn parse(text: &str) -> Result<SignedDuration, Complaint> {
    let text = text.trim();
    if text.parse::<f64>().is_ok() {
        let hint = format!("write `{text}h`, `{text}m` or `{text}s`");
        return Err(Complaint::hinted(format!("`{text}` has no unit"), hint));
    }
    let Ok(duration) = PARSER.parse_duration(text) else { return Err(no_duration(text)) };
    if duration.is_negative() {
        return Err(Complaint::new(format!("`{text}` is negative")));
    }
    if duration.subsec_nanos() != 0 {
        return Err(Complaint::new(format!("`{text}` is finer than a second")));
    }
    Ok(duration)
}

fn no_duration(text: &str) -> Complaint {
    let Ok(span) = PARSER.parse_span(text) else {
        return Complaint::hinted(
            format!("`{text}` is no duration"),
            "durations look like `24h`, `1h 30m` or `45s`",
        );
    };
    if span.get_months() != 0 || span.get_years() != 0 {
        return Complaint::hinted(
            format!("`{text}` has no fixed length"),
            "write it in hours, e.g. `48h`",
        );
    }
    let hours = (i64::from(span.get_weeks()) * 7 + i64::from(span.get_days())) * 24
        + i64::from(span.get_hours());
    let hint = match span.get_minutes() {
        0 => format!("write `{hours}h`"),
        minutes => format!("write `{hours}h {minutes}m`"),
    };
    Complaint::hinted(format!("`{text}` counts in days, which are not all equally long"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, secs) in [
            ("24h", 86_400),
            ("1h 30m", 5_400),
            ("1h30m", 5_400),
            (" 45s ", 45),
            ("2 hours", 7_200),
            ("0s", 0),
            ("1.5h", 5_400),
        ] {
            assert_eq!(parse(text).map(|duration| duration.as_secs()), Ok(secs), "{text}");
        }
    }

    #[test]
    fn refuses_nonsense_with_a_way_out() {
        for (text, message, hint) in [
            ("24", "`24` has no unit", Some("write `24h`, `24m` or `24s`")),
            ("-1h", "`-1h` is negative", None),
            ("1month", "`1month` has no fixed length", Some("write it in hours, e.g. `48h`")),
            ("2d", "`2d` counts in days, which are not all equally long", Some("write `48h`")),
            (
                "1w 2h 5m",
                "`1w 2h 5m` counts in days, which are not all equally long",
                Some("write `170h 5m`"),
            ),
            ("10ms", "`10ms` is finer than a second", None),
            ("soon", "`soon` is no duration", Some("durations look like `24h`, `1h 30m` or `45s`")),
            ("", "`` is no duration", Some("durations look like `24h`, `1h 30m` or `45s`")),
        ] {
            let complaint = parse(text).unwrap_err();
            assert_eq!((complaint.message.as_str(), complaint.hint.as_deref()), (message, hint));
        }
    }
}
