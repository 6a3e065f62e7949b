//! Owns change windows: five cron fields in a time zone, and when they next open. The only file that knows chrono and cron.
//!
//! Cron fields are read as a wall clock would show them, and placed in the zone by jiff: a skipped 02:30 opens at 03:30, a
//! repeated 01:30 opens once. Days of the week are what people write (0 and 7 = Sunday, 1 = Monday); the cron crate counts
//! from 1 = Sunday, so they are spelled out for it.

use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDateTime, TimeZone as _, Timelike, Utc};
use jiff::civil::DateTime as CivilDateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rollout_core::ChangeWindow;

/// Why a change window cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not five fields.
    #[error(
        "`{cron}` has {found} fields; write five: minute, hour, day of month, month, day of week"
    )]
    Fields {
        /// What was written.
        cron: String,
        /// How many fields it has.
        found: usize,
    },
    /// A field that cannot be read.
    #[error("`{cron}` is no schedule: {why}")]
    Field {
        /// What was written.
        cron: String,
        /// What is wrong with it.
        why: String,
    },
    /// Both days are restricted, which cron programs understand in two different ways.
    #[error("`{cron}` restricts both the day of month and the day of week; leave one of them `*`")]
    BothDays {
        /// What was written.
        cron: String,
    },
    /// An unknown time zone.
    #[error("there is no time zone `{zone}`; zones look like America/Chicago")]
    Zone {
        /// What was written.
        zone: String,
    },
    /// It never opens, or stays open for no time.
    #[error("the window `{cron}` never opens")]
    Never {
        /// What was written.
        cron: String,
    },
}

/// Says whether a change window can be used.
///
/// # Errors
///
/// [`ScheduleError`], for a person.
pub fn check_change_window(window: &ChangeWindow) -> Result<(), ScheduleError> {
    next_opening(window, Timestamp::UNIX_EPOCH).map(|_| ())
}

/// The window that is open at `from`, or the next one: when it opens and when it closes.
///
/// # Errors
///
/// [`ScheduleError`] when there is none.
pub fn next_opening(
    window: &ChangeWindow,
    from: Timestamp,
) -> Result<(Timestamp, Timestamp), ScheduleError> {
    let never = || ScheduleError::Never { cron: window.cron.clone() };
    let zone = TimeZone::get(&window.zone)
        .map_err(|_| ScheduleError::Zone { zone: window.zone.clone() })?;
    let schedule = parse(&window.cron)?;
    if window.lasts <= SignedDuration::ZERO {
        return Err(never());
    }
    // Begin early enough to find a window that opened before `from` and is still open, whatever a DST switch does.
    let early = SignedDuration::from_hours(26).saturating_add(window.lasts);
    let begin = from.checked_sub(early).unwrap_or(Timestamp::MIN);
    let begin = as_chrono(begin.to_zoned(zone.clone()).datetime()).ok_or_else(never)?;
    for opening in schedule.after(&Utc.from_utc_datetime(&begin)).take(OPENINGS_MAX) {
        let opens = place(&opening, &zone).ok_or_else(never)?;
        let closes = opens.checked_add(window.lasts).map_err(|_| never())?;
        if closes > from {
            return Ok((opens, closes));
        }
    }
    Err(never())
}

fn parse(cron: &str) -> Result<cron::Schedule, ScheduleError> {
    let field = |why: String| ScheduleError::Field { cron: cron.to_string(), why };
    let fields: Vec<&str> = cron.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else {
        return Err(ScheduleError::Fields { cron: cron.to_string(), found: fields.len() });
    };
    if day != "*" && weekday != "*" {
        return Err(ScheduleError::BothDays { cron: cron.to_string() });
    }
    let weekday = weekday_names(weekday).map_err(field)?;
    let six = format!("0 {minute} {hour} {day} {month} {weekday}");
    cron::Schedule::from_str(&six).map_err(|error| field(error.to_string()))
}

/// Spells a day-of-week field out: `1-5` becomes `MON,TUE,WED,THU,FRI`.
fn weekday_names(field: &str) -> Result<String, String> {
    if field == "*" {
        return Ok(field.to_string());
    }
    let mut days = [false; 7];
    for part in field.split(',') {
        let (range, every) = part.split_once('/').unwrap_or((part, "1"));
        let every: usize =
            every.parse().ok().filter(|every| *every > 0).ok_or(format!("`{part}` has no step"))?;
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (weekday(first)?, weekday(last)?),
            None if range == "*" => (0, 6),
            None => (weekday(range)?, weekday(range)?),
        };
        let last = if last < first { last + 7 } else { last };
        (first..=last).step_by(every).for_each(|day| days[day % 7] = true);
    }
    let names = WEEKDAYS.iter().zip(days).filter(|(_, wanted)| *wanted).map(|(name, _)| *name);
    Ok(names.collect::<Vec<_>>().join(","))
}

fn weekday(text: &str) -> Result<usize, String> {
    let named = WEEKDAYS.iter().position(|name| name.eq_ignore_ascii_case(text));
    let numbered = text.parse::<usize>().ok().filter(|day| *day <= 7);
    named.or(numbered).ok_or(format!("`{text}` is no day of the week (0-7 or SUN-SAT)"))
}

fn as_chrono(civil: CivilDateTime) -> Option<NaiveDateTime> {
    let date = chrono::NaiveDate::from_ymd_opt(
        i32::from(civil.year()),
        u32::from(civil.month().unsigned_abs()),
        u32::from(civil.day().unsigned_abs()),
    )?;
    date.and_hms_opt(
        u32::from(civil.hour().unsigned_abs()),
        u32::from(civil.minute().unsigned_abs()),
        u32::from(civil.second().unsigned_abs()),
    )
}

/// The moment at which a clock on the wall of `zone` shows `local`.
fn place(local: &DateTime<Utc>, zone: &TimeZone) -> Option<Timestamp> {
    let small = |number: u32| i8::try_from(number).ok();
    let civil = CivilDateTime::new(
        i16::try_from(local.year()).ok()?,
        small(local.month())?,
        small(local.day())?,
        small(local.hour())?,
        small(local.minute())?,
        small(local.second())?,
        0,
    );
    zone.to_ambiguous_timestamp(civil.ok()?).compatible().ok()
}

const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
/// Openings looked at before giving up: a window every minute that lasts for a month has fewer before `from`.
const OPENINGS_MAX: usize = 50_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn window(cron: &str, hours: i64, zone: &str) -> ChangeWindow {
        ChangeWindow {
            cron: cron.into(),
            lasts: SignedDuration::from_hours(hours),
            zone: zone.into(),
        }
    }

    fn opening(window: &ChangeWindow, from: &str) -> String {
        let (opens, closes) = next_opening(window, from.parse().unwrap()).unwrap();
        format!("{opens} {closes}")
    }

    #[test]
    fn weekdays_are_the_ones_people_write() {
        let office = window("0 9 * * 1-5", 8, "America/Chicago");
        // 2026-11-22 is a Sunday.
        assert_eq!(
            opening(&office, "2026-11-22T12:00:00Z"),
            "2026-11-23T15:00:00Z 2026-11-23T23:00:00Z"
        );
        // Friday inside the window, then Friday after it.
        assert_eq!(
            opening(&office, "2026-11-27T16:00:00Z"),
            "2026-11-27T15:00:00Z 2026-11-27T23:00:00Z"
        );
        assert_eq!(
            opening(&office, "2026-11-27T23:00:00Z"),
            "2026-11-30T15:00:00Z 2026-11-30T23:00:00Z"
        );
        assert_eq!(weekday_names("5-7").unwrap(), "SUN,FRI,SAT");
        assert_eq!(weekday_names("*/2").unwrap(), "SUN,TUE,THU,SAT");
    }

    #[test]
    fn both_dst_switches_in_three_zones() {
        for (zone, cron, from, expected) in [
            // Forward: 02:30 does not exist and opens at 03:30 local time.
            ("America/Chicago", "30 2 * * *", "2026-03-08T00:00:00-06:00", "2026-03-08T08:30:00Z"),
            ("Europe/Berlin", "30 2 * * *", "2026-03-29T00:00:00+01:00", "2026-03-29T01:30:00Z"),
            ("Australia/Sydney", "30 2 * * *", "2026-10-04T00:00:00+10:00", "2026-10-03T16:30:00Z"),
            // Back: the first of the two.
            ("America/Chicago", "30 1 * * *", "2026-11-01T00:00:00-05:00", "2026-11-01T06:30:00Z"),
            ("Europe/Berlin", "30 2 * * *", "2026-10-25T00:00:00+02:00", "2026-10-25T00:30:00Z"),
            ("Australia/Sydney", "30 2 * * *", "2026-04-05T00:00:00+11:00", "2026-04-04T15:30:00Z"),
        ] {
            let from: Timestamp = from.parse().unwrap();
            let (opens, _) = next_opening(&window(cron, 1, zone), from).unwrap();
            assert_eq!(opens.to_string(), expected, "{zone} {cron}");
            let (again, _) =
                next_opening(&window(cron, 1, zone), opens + SignedDuration::from_hours(1))
                    .unwrap();
            assert!(
                again.duration_since(opens) > SignedDuration::from_hours(20),
                "{zone}: opened twice"
            );
        }
    }

    #[test]
    fn nonsense_is_named() {
        let error = |cron: &str, zone: &str| {
            check_change_window(&window(cron, 1, zone)).unwrap_err().to_string()
        };
        assert!(error("0 9 * *", "UTC").contains("has 4 fields"));
        assert!(error("0 0 9 * * 1", "UTC").contains("has 6 fields"));
        assert!(error("0 9 1 * 1", "UTC").contains("leave one of them"));
        assert!(error("0 9 * * FUN", "UTC").contains("no day of the week"));
        assert!(error("0 99 * * *", "UTC").contains("no schedule"));
        assert!(error("0 9 * * *", "Mars/Olympus").contains("no time zone"));
        assert!(error("0 9 31 2 *", "UTC").contains("never opens"));
    }
}
