//! Owns targets and alert thresholds as people write them: `< 1%`, `> 10s`, `= healthy`.
//!
//! A limit with a unit is converted into the criterion's unit; one without is already in it.

use rollout_core::{Bound, Comparison, Limit, Unit};

use super::complaint::Complaint;

/// The signs, longer ones first.
const SIGNS: [(&str, Comparison); 6] = [
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("!=", Comparison::NotEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
    ("=", Comparison::Equal),
];

/// Signs of other languages, and what is meant by them.
const SLIPS: [(&str, &str); 8] = [
    ("=<", "<="),
    ("=>", ">="),
    ("=!", "!="),
    ("<>", "!="),
    ("><", "!="),
    ("≤", "<="),
    ("≥", ">="),
    ("≠", "!="),
];

/// Reads a bound for values of `unit`.
pub(super) fn parse(text: &str, unit: Unit) -> Result<Bound, Complaint> {
    let text = text.trim();
    if let Some((slip, meant)) = SLIPS.iter().find(|(slip, _)| text.starts_with(slip)) {
        let limit = text[slip.len()..].trim_start();
        return Err(Complaint::hinted(
            format!("`{slip}` is no sign"),
            format!("did you mean `{meant} {limit}`?"),
        ));
    }
    let signed = SIGNS
        .iter()
        .find_map(|(sign, comparison)| Some((*comparison, text.strip_prefix(sign)?.trim_start())));
    let Some((comparison, limit)) = signed else {
        let hint = format!("write `< {text}`, `> {text}` or `= {text}`");
        return Err(Complaint::hinted(format!("`{text}` does not say how to compare"), hint));
    };
    if limit.starts_with('=') {
        let limit = limit.trim_start_matches('=').trim_start();
        let sign = match comparison {
            Comparison::Less | Comparison::LessOrEqual => "<=",
            Comparison::Greater | Comparison::GreaterOrEqual => ">=",
            Comparison::NotEqual => "!=",
            Comparison::Equal => "=",
        };
        return Err(Complaint::hinted(
            format!("`{text}` has one sign too many"),
            format!("write `{sign} {limit}`"),
        ));
    }
    if limit.is_empty() {
        return Err(Complaint::hinted(
            format!("`{text}` has no limit"),
            "write e.g. `< 5` or `= healthy`",
        ));
    }
    if unit != Unit::Text && limit.starts_with(['<', '>', '!']) {
        return Err(Complaint::hinted(
            format!("`{text}` has one sign too many"),
            "one sign and one limit: `<`, `<=`, `>`, `>=`, `=` or `!=`",
        ));
    }
    let limit = match unit {
        Unit::Text => Limit::Text(limit.to_string()),
        Unit::Percent | Unit::Count | Unit::Milliseconds | Unit::Seconds => {
            Limit::Number(number(limit, unit)?)
        }
    };
    Ok(Bound { comparison, limit })
}

/// Reads a number with or without a unit, in terms of `unit`.
fn number(text: &str, unit: Unit) -> Result<f64, Complaint> {
    let digits = text
        .trim_end_matches(|letter: char| letter.is_ascii_alphabetic() || letter == '%')
        .trim_end();
    let suffix = text[digits.len()..].trim_start();
    let number: f64 = match digits.parse() {
        Ok(number) if f64::is_finite(number) => number,
        Ok(_) | Err(_) => {
            let hint = match unit {
                Unit::Percent => "write e.g. `< 1%`",
                Unit::Milliseconds | Unit::Seconds => "write e.g. `< 5s` or `< 500ms`",
                Unit::Count | Unit::Text => {
                    "write e.g. `= 0`; words are compared where `unit = \"text\"`"
                }
            };
            return Err(Complaint::hinted(format!("`{text}` is no number"), hint));
        }
    };
    match (unit, suffix) {
        (_, "") | (Unit::Percent, "%") | (Unit::Milliseconds, "ms") | (Unit::Seconds, "s") => {
            Ok(number)
        }
        (Unit::Milliseconds, "s") => Ok(number * 1_000.0),
        (Unit::Milliseconds, "m" | "min") => Ok(number * 60_000.0),
        (Unit::Seconds, "ms") => Ok(number / 1_000.0),
        (Unit::Seconds, "m" | "min") => Ok(number * 60.0),
        (Unit::Percent | Unit::Count | Unit::Milliseconds | Unit::Seconds | Unit::Text, suffix) => {
            let message = format!("`{suffix}` does not fit the criterion's unit, {}", word(unit));
            Err(Complaint::hinted(
                message,
                "percent takes `%`; ms and s take `ms`, `s` and `min`; count takes nothing",
            ))
        }
    }
}

/// The unit as plans write it.
pub(super) fn word(unit: Unit) -> &'static str {
    match unit {
        Unit::Percent => "percent",
        Unit::Count => "count",
        Unit::Milliseconds => "ms",
        Unit::Seconds => "s",
        Unit::Text => "text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_converted_into_the_unit_of_the_criterion() {
        for (text, unit, shown) in [
            ("< 1%", Unit::Percent, "< 1"),
            ("<1", Unit::Percent, "< 1"),
            ("> 5 %", Unit::Percent, "> 5"),
            ("= 0", Unit::Count, "= 0"),
            ("!=3", Unit::Count, "!= 3"),
            ("<= 5s", Unit::Milliseconds, "<= 5000"),
            ("> 10 s", Unit::Milliseconds, "> 10000"),
            (">= 250ms", Unit::Seconds, ">= 0.25"),
            ("< 2min", Unit::Seconds, "< 120"),
            ("= healthy", Unit::Text, "= healthy"),
            ("!= very ill", Unit::Text, "!= very ill"),
        ] {
            assert_eq!(
                parse(text, unit).map(|bound| bound.to_string()),
                Ok(shown.to_string()),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_what_cannot_be_compared() {
        for (text, unit, message) in [
            ("5", Unit::Percent, "`5` does not say how to compare"),
            ("== 5", Unit::Count, "`== 5` has one sign too many"),
            ("=< 5", Unit::Count, "`=<` is no sign"),
            ("≥ 5", Unit::Count, "`≥` is no sign"),
            ("< < 5", Unit::Count, "`< < 5` has one sign too many"),
            ("<", Unit::Count, "`<` has no limit"),
            ("< five", Unit::Count, "`five` is no number"),
            ("< inf", Unit::Count, "`inf` is no number"),
            ("< 5s", Unit::Percent, "`s` does not fit the criterion's unit, percent"),
            ("< 5%", Unit::Milliseconds, "`%` does not fit the criterion's unit, ms"),
            ("= healthy", Unit::Count, "`healthy` is no number"),
        ] {
            assert_eq!(parse(text, unit).unwrap_err().message, message, "{text}");
        }
    }

    #[test]
    fn a_sign_of_another_language_says_what_is_meant() {
        for (text, unit, hint) in [
            ("=< 1", Unit::Percent, "did you mean `<= 1`?"),
            ("=> 1", Unit::Percent, "did you mean `>= 1`?"),
            ("<> healthy", Unit::Text, "did you mean `!= healthy`?"),
            ("≠ 1", Unit::Count, "did you mean `!= 1`?"),
            ("== 1", Unit::Count, "write `= 1`"),
            ("<== 1", Unit::Count, "write `<= 1`"),
            ("!== 1", Unit::Count, "write `!= 1`"),
        ] {
            assert_eq!(parse(text, unit).unwrap_err().hint.as_deref(), Some(hint), "{text}");
        }
    }
}
