//! Owns judgement: one criterion, one measured value, one verdict.
//!
//! Refuses to guess. A value that is absent is *no data*, a value that cannot be read is an *error*; neither is ever a
//! breach (a provider's failure says nothing about the flag) and neither is ever a pass (silence is not health).

use alloc::format;
use alloc::string::String;
use core::cmp::Ordering;
use core::fmt;

use crate::measurement::Measured;

/// A target and an alert threshold for a measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Criterion {
    /// Short name, unique in the plan: `error_rate`.
    pub name: String,
    /// Heading in tables: `Error Rate`.
    pub label: String,
    /// Name of the health source that is asked.
    pub source: String,
    /// JSON pointer (RFC 6901) into the source's result; empty = the whole result.
    pub pointer: String,
    /// What the value counts.
    pub unit: Unit,
    /// Where the value should be. `None` = shown, never judged.
    pub target: Option<Bound>,
    /// Where a value makes the phase roll back. `None` = beyond the target is only a warning.
    pub alert: Option<Bound>,
}

/// What a measured value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A share, 0 to 100.
    Percent,
    /// A number of things; a list at the pointer counts as its length.
    Count,
    /// A time in milliseconds.
    Milliseconds,
    /// A time in seconds.
    Seconds,
    /// A word, compared to the letter.
    Text,
}

/// One side of a criterion: `< 1`, `> 5`, `= healthy`.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// How the value is compared with the limit.
    pub comparison: Comparison,
    /// What it is compared with, in the criterion's unit.
    pub limit: Limit,
}

/// How a value is compared with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
}

/// What a value is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Limit {
    /// A finite number.
    Number(f64),
    /// A word, for [`Unit::Text`].
    Text(String),
}

/// What a reading says about one criterion, or the worst of several. Ordered from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Within the target.
    Pass,
    /// Between target and alert threshold.
    Warn,
    /// The source answered, but there is no value.
    NoData,
    /// The source could not be read, or its answer cannot be understood.
    Error,
    /// Beyond the alert threshold.
    Breach,
}

impl Criterion {
    /// Judges `measured`. The second part says why, wherever there is no number to show for it.
    ///
    /// A value beyond the alert is a breach even when the target is missing; a criterion with neither side passes as soon
    /// as it has a value.
    pub fn judge(&self, measured: &Measured) -> (Verdict, Option<String>) {
        match measured {
            Measured::Missing(reason) => return (Verdict::NoData, Some(reason.clone())),
            Measured::Failed(reason) => return (Verdict::Error, Some(reason.clone())),
            Measured::Number(number) if number.is_nan() => {
                return (Verdict::NoData, Some(String::from("not a number (NaN)")));
            }
            Measured::Number(_) | Measured::Text(_) => {}
        }
        let misfit = |bound: &Bound| match (&bound.limit, measured) {
            (Limit::Number(_), Measured::Text(text)) => {
                Some(format!("expected a number, got the text {text:?}"))
            }
            (Limit::Text(_), Measured::Number(number)) => {
                Some(format!("expected a text, got the number {number}"))
            }
            (Limit::Number(_) | Limit::Text(_), _) => None,
        };
        if let Some(reason) = self.alert.iter().chain(&self.target).find_map(misfit) {
            return (Verdict::Error, Some(reason));
        }
        let verdict = match (&self.alert, &self.target) {
            (Some(alert), _) if alert.holds(measured) => Verdict::Breach,
            (_, Some(target)) if !target.holds(measured) => Verdict::Warn,
            (Some(_) | None, Some(_) | None) => Verdict::Pass,
        };
        (verdict, None)
    }

    /// The target with its unit: `< 1 %`.
    pub fn target_words(&self) -> Option<String> {
        self.target.as_ref().map(|bound| bound.words(self.unit))
    }

    /// The alert threshold with its unit: `> 5 %`.
    pub fn alert_words(&self) -> Option<String> {
        self.alert.as_ref().map(|bound| bound.words(self.unit))
    }

    /// True when a reading of this criterion can end badly: it has a target or an alert threshold.
    pub fn is_judged(&self) -> bool {
        self.target.is_some() || self.alert.is_some()
    }

    /// Says what is wrong when the alert threshold lies inside or on the wrong side of the target.
    pub(crate) fn contradiction(&self) -> Option<String> {
        let (target, alert) = (self.target.as_ref()?, self.alert.as_ref()?);
        let (Limit::Number(good), Limit::Number(bad)) = (&target.limit, &alert.limit) else {
            return (target.limit == alert.limit && target.comparison == alert.comparison)
                .then(|| String::from("alert and target say the same"));
        };
        let (upward, downward) = (alert.comparison.points_up(), alert.comparison.points_down());
        let wrong = match target.comparison {
            Comparison::Less | Comparison::LessOrEqual => !upward || bad < good,
            Comparison::Greater | Comparison::GreaterOrEqual => !downward || bad > good,
            Comparison::Equal => {
                (upward && bad < good) || (downward && bad > good) || !(upward || downward)
            }
            Comparison::NotEqual => true,
        };
        wrong.then(|| {
            format!("the alert threshold `{alert}` does not lie beyond the target `{target}`")
        })
    }
}

impl Bound {
    /// The bound with its unit.
    pub fn words(&self, unit: Unit) -> String {
        match &self.limit {
            Limit::Number(limit) => format!("{} {}", self.comparison.sign(), unit.show(*limit)),
            Limit::Text(limit) => format!("{} {limit}", self.comparison.sign()),
        }
    }

    /// True when `measured` lies where this bound says. A value of the other kind never does.
    pub fn holds(&self, measured: &Measured) -> bool {
        let order = match (measured, &self.limit) {
            (Measured::Number(value), Limit::Number(limit)) => value.partial_cmp(limit),
            (Measured::Text(value), Limit::Text(limit)) => Some(match value == limit {
                true => Ordering::Equal,
                false => return self.comparison == Comparison::NotEqual,
            }),
            (
                Measured::Number(_)
                | Measured::Text(_)
                | Measured::Missing(_)
                | Measured::Failed(_),
                Limit::Number(_) | Limit::Text(_),
            ) => None,
        };
        let Some(order) = order else { return false };
        match self.comparison {
            Comparison::Less => order == Ordering::Less,
            Comparison::LessOrEqual => order != Ordering::Greater,
            Comparison::Greater => order == Ordering::Greater,
            Comparison::GreaterOrEqual => order != Ordering::Less,
            Comparison::Equal => order == Ordering::Equal,
            Comparison::NotEqual => order != Ordering::Equal,
        }
    }
}

impl Comparison {
    pub(crate) fn points_up(self) -> bool {
        matches!(self, Self::Greater | Self::GreaterOrEqual)
    }

    pub(crate) fn points_down(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual)
    }

    /// The sign as people write it.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Equal => "=",
            Self::NotEqual => "!=",
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.limit {
            Limit::Number(limit) => write!(f, "{} {limit}", self.comparison.sign()),
            Limit::Text(limit) => write!(f, "{} {limit}", self.comparison.sign()),
        }
    }
}

impl Verdict {
    /// The verdict in one lower-case word or two.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::NoData => "no data",
            Self::Error => "error",
            Self::Breach => "breach",
        }
    }

    /// True when the system was seen, and nothing is beyond an alert threshold.
    pub fn is_well(self) -> bool {
        matches!(self, Self::Pass | Self::Warn)
    }

    /// True when the reading really shows how the system does: pass, warn or breach.
    pub fn is_observed(self) -> bool {
        matches!(self, Self::Pass | Self::Warn | Self::Breach)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Unit {
    /// The value with its unit, as tables show it: `0.4 %`, `1820 ms`, `3`.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Percent => format!("{} %", Rounded(value)),
            Self::Milliseconds => format!("{} ms", Rounded(value)),
            Self::Seconds => format!("{} s", Rounded(value)),
            Self::Count | Self::Text => format!("{}", Rounded(value)),
        }
    }
}

/// A number with at most three decimals and no trailing zeros.
struct Rounded(f64);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.3}", self.0);
        f.write_str(match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.'),
            false => &text,
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn number(comparison: Comparison, limit: f64) -> Option<Bound> {
        Some(Bound { comparison, limit: Limit::Number(limit) })
    }

    fn criterion(target: Option<Bound>, alert: Option<Bound>) -> Criterion {
        Criterion {
            name: "c".into(),
            label: "C".into(),
            source: "health".into(),
            pointer: "/c".into(),
            unit: Unit::Percent,
            target,
            alert,
        }
    }

    fn error_rate() -> Criterion {
        criterion(number(Comparison::Less, 1.0), number(Comparison::Greater, 5.0))
    }

    #[test]
    fn six_kinds_of_value_have_five_verdicts() {
        let verdict = |measured| error_rate().judge(&measured).0;
        assert_eq!(verdict(Measured::Number(0.4)), Verdict::Pass);
        assert_eq!(verdict(Measured::Number(1.0)), Verdict::Warn);
        assert_eq!(verdict(Measured::Number(5.0)), Verdict::Warn);
        assert_eq!(verdict(Measured::Number(5.1)), Verdict::Breach);
        assert_eq!(verdict(Measured::Number(f64::INFINITY)), Verdict::Breach);
        assert_eq!(verdict(Measured::Number(f64::NAN)), Verdict::NoData);
        assert_eq!(verdict(Measured::Missing("null".into())), Verdict::NoData);
        assert_eq!(verdict(Measured::Failed("timed out".into())), Verdict::Error);
        assert_eq!(verdict(Measured::Text("7".into())), Verdict::Error);
    }

    #[test]
    fn words_are_compared_to_the_letter() {
        let text =
            |comparison, limit: &str| Some(Bound { comparison, limit: Limit::Text(limit.into()) });
        let status =
            criterion(text(Comparison::Equal, "healthy"), text(Comparison::Equal, "unhealthy"));
        let verdict = |word: &str| status.judge(&Measured::Text(word.into())).0;
        assert_eq!(verdict("healthy"), Verdict::Pass);
        assert_eq!(verdict("degraded"), Verdict::Warn);
        assert_eq!(verdict("unhealthy"), Verdict::Breach);
        assert_eq!(status.judge(&Measured::Number(1.0)).0, Verdict::Error);
    }

    #[test]
    fn an_alert_on_the_wrong_side_is_a_contradiction() {
        use Comparison::{Equal, Greater, Less};
        let wrong = |target, alert| criterion(target, alert).contradiction().is_some();
        assert!(!wrong(number(Less, 1.0), number(Greater, 5.0)));
        assert!(!wrong(number(Greater, 99.0), number(Less, 95.0)));
        assert!(!wrong(number(Equal, 0.0), number(Greater, 3.0)));
        assert!(!wrong(number(Less, 1.0), None));
        assert!(wrong(number(Less, 5.0), number(Greater, 1.0)));
        assert!(wrong(number(Less, 1.0), number(Less, 5.0)));
        assert!(wrong(number(Greater, 95.0), number(Less, 99.0)));
        assert!(wrong(number(Equal, 3.0), number(Greater, 0.0)));
    }

    #[test]
    fn values_are_shown_with_their_unit_and_no_noise() {
        assert_eq!(Unit::Percent.show(0.4), "0.4 %");
        assert_eq!(Unit::Percent.show(100.0), "100 %");
        assert_eq!(Unit::Milliseconds.show(1820.25), "1820.25 ms");
        assert_eq!(error_rate().alert.unwrap().to_string(), "> 5");
    }
}
