//! Owns what a function's result means: a measurement for a criterion, an answer for a probe.
//!
//! Refuses to convert: the text `"0.4"` is no number, `true` is no number, an object is no value. Null and nothing are
//! *missing*, which is never a pass and never a breach.

use rollout_core::{Expectation, Measured, Probe, ProbeAnswer, ProbeState, Scalar, Unit};

use crate::text::clip;
use crate::value::{ConvexValue, Pointed};

/// Takes the value at `pointer` out of a result, in the criterion's unit.
pub(crate) fn measured(result: &ConvexValue, pointer: &str, unit: Unit) -> Measured {
    let value = match result.at(pointer) {
        Pointed::Value(value) => value,
        Pointed::Nothing(words) => return Measured::Missing(clip(&words, REASON_BYTES_MAX)),
        Pointed::NotAPointer => return Measured::Failed(not_a_pointer(pointer)),
    };
    let expected = if unit == Unit::Text { "a text" } else { "a number" };
    let misfit = || {
        let reason = format!("expected {expected} {}, got {}", place(pointer), value.kind());
        Measured::Failed(clip(&reason, REASON_BYTES_MAX))
    };
    match (value, unit) {
        (ConvexValue::Null, _) => Measured::Missing(format!("null {}", place(pointer))),
        (ConvexValue::Text(text), Unit::Text) if text.len() <= TEXT_BYTES_MAX => {
            Measured::Text(text.clone())
        }
        (ConvexValue::Text(text), Unit::Text) => Measured::Failed(format!(
            "the text {} is too long: {} bytes",
            place(pointer),
            text.len()
        )),
        (ConvexValue::Boolean(boolean), Unit::Text) => Measured::Text(boolean.to_string()),
        (_, Unit::Text) => misfit(),
        (ConvexValue::Number(number), _) => Measured::Number(*number),
        (ConvexValue::Integer(number), _) => Measured::Number(*number as f64),
        (ConvexValue::List(items), Unit::Count) => Measured::Number(items.len() as f64),
        (_, Unit::Percent | Unit::Count | Unit::Milliseconds | Unit::Seconds) => misfit(),
    }
}

/// Compares what is at `pointer` with what a probe expects.
pub(crate) fn answer(
    probe: &Probe,
    result: &ConvexValue,
    pointer: &str,
    expect: &Expectation,
) -> ProbeAnswer {
    let (found, is_expected) = match result.at(pointer) {
        Pointed::Value(value) => (value.show(FOUND_BYTES_MAX), matches_scalar(value, expect)),
        Pointed::Nothing(words) => (clip(&words, FOUND_BYTES_MAX), false),
        Pointed::NotAPointer => {
            return ProbeAnswer {
                probe: probe.name.clone(),
                state: ProbeState::Failed,
                found: not_a_pointer(pointer),
            };
        }
    };
    let state = match expect {
        Expectation::Answers => ProbeState::Met,
        Expectation::Equals(_) if is_expected => ProbeState::Met,
        Expectation::Equals(_) => ProbeState::NotMet,
    };
    ProbeAnswer { probe: probe.name.clone(), state, found }
}

/// Numbers are compared as numbers (5.0 is 5), texts and booleans to the letter.
fn matches_scalar(value: &ConvexValue, expect: &Expectation) -> bool {
    match (value, expect) {
        (ConvexValue::Boolean(found), Expectation::Equals(Scalar::Boolean(wanted))) => {
            found == wanted
        }
        (ConvexValue::Number(found), Expectation::Equals(Scalar::Number(wanted))) => {
            found == wanted
        }
        (ConvexValue::Integer(found), Expectation::Equals(Scalar::Number(wanted))) => {
            *found as f64 == *wanted
        }
        (ConvexValue::Text(found), Expectation::Equals(Scalar::Text(wanted))) => found == wanted,
        (_, Expectation::Answers | Expectation::Equals(_)) => false,
    }
}

/// Where a pointer points, in a sentence.
pub(crate) fn place(pointer: &str) -> String {
    if pointer.is_empty() { String::from("as the result") } else { format!("at {pointer}") }
}

/// The plan has checked its pointers; one that slips through is said, not guessed at.
pub(crate) fn not_a_pointer(pointer: &str) -> String {
    clip(
        &format!("{pointer:?} is not a JSON pointer: it does not start with a slash"),
        REASON_BYTES_MAX,
    )
}

/// Longest text that is kept as a value; a word for people is shorter.
const TEXT_BYTES_MAX: usize = 1024;
/// Longest evidence of a probe, kept with every reading.
pub(crate) const FOUND_BYTES_MAX: usize = 200;
/// Longest reason of one part of a reading.
pub(crate) const REASON_BYTES_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use rollout_core::{FunctionCall, ProbeKind};
    use serde_json::{Value as Json, json};

    use super::*;

    fn value(json: Json) -> ConvexValue {
        ConvexValue::decode(json).unwrap()
    }

    fn at(json: Json, unit: Unit) -> Measured {
        measured(&value(json!({ "x": json })), "/x", unit)
    }

    #[test]
    fn numbers_are_numbers_and_nothing_else_is() {
        assert_eq!(at(json!(0.4), Unit::Percent), Measured::Number(0.4));
        assert_eq!(at(json!({"$integer": "KgAAAAAAAAA="}), Unit::Count), Measured::Number(42.0));
        assert_eq!(at(json!([1.0, 2.0]), Unit::Count), Measured::Number(2.0));
        assert_eq!(at(json!([]), Unit::Count), Measured::Number(0.0));
        assert!(
            matches!(at(json!({"$float": "AAAAAAAA+H8="}), Unit::Percent), Measured::Number(nan) if nan.is_nan())
        );
        let failed = |json, unit| {
            let Measured::Failed(reason) = at(json, unit) else { panic!("it did not fail") };
            reason
        };
        assert_eq!(
            failed(json!("0.4"), Unit::Percent),
            "expected a number at /x, got the text \"0.4\""
        );
        assert_eq!(failed(json!(true), Unit::Count), "expected a number at /x, got true");
        assert_eq!(failed(json!([1.0]), Unit::Seconds), "expected a number at /x, got a list of 1");
        assert_eq!(
            failed(json!({"a": 1.0}), Unit::Count),
            "expected a number at /x, got an object"
        );
        assert_eq!(failed(json!(5.0), Unit::Text), "expected a text at /x, got the number 5");
        assert!(failed(json!("y".repeat(5_000)), Unit::Text).contains("5000 bytes"));
    }

    #[test]
    fn null_and_nothing_are_missing() {
        assert_eq!(at(Json::Null, Unit::Percent), Measured::Missing("null at /x".into()));
        assert_eq!(
            measured(&ConvexValue::Null, "", Unit::Count),
            Measured::Missing("null as the result".into())
        );
        let Measured::Missing(words) =
            measured(&value(json!({"mode": "x"})), "/errorRate", Unit::Percent)
        else {
            panic!("not missing")
        };
        assert_eq!(words, "nothing at /errorRate; the result has mode");
    }

    #[test]
    fn words_are_kept_to_the_letter() {
        assert_eq!(at(json!(" healthy"), Unit::Text), Measured::Text(" healthy".into()));
        assert_eq!(at(json!(false), Unit::Text), Measured::Text("false".into()));
    }

    #[test]
    fn probes_compare_numbers_as_numbers_and_show_what_they_found() {
        let check = |json: Json, expect: Expectation| {
            let call = FunctionCall { path: "m:f".into(), args: "{}".into() };
            let kind = ProbeKind::Function { call, pointer: "/x".into(), expect: expect.clone() };
            let answer = answer(&Probe { name: "mode".into(), kind }, &value(json), "/x", &expect);
            (answer.state, answer.found)
        };
        let equals = Expectation::Equals;
        assert_eq!(
            check(json!({"x": 5.0}), equals(Scalar::Number(5.0))),
            (ProbeState::Met, "5".into())
        );
        let five = json!({"x": {"$integer": "BQAAAAAAAAA="}});
        assert_eq!(check(five, equals(Scalar::Number(5.0))).0, ProbeState::Met);
        assert_eq!(
            check(json!({"x": "5"}), equals(Scalar::Number(5.0))),
            (ProbeState::NotMet, "\"5\"".into())
        );
        assert_eq!(
            check(json!({"x": true}), equals(Scalar::Text("true".into()))).0,
            ProbeState::NotMet
        );
        assert_eq!(
            check(json!({"x": true}), equals(Scalar::Boolean(true))),
            (ProbeState::Met, "true".into())
        );
        assert_eq!(
            check(json!({"x": null}), equals(Scalar::Boolean(false))),
            (ProbeState::NotMet, "null".into())
        );
        let (state, found) = check(json!({"y": 1.0}), equals(Scalar::Number(1.0)));
        assert_eq!(
            (state, found.as_str()),
            (ProbeState::NotMet, "nothing at /x; the result has y")
        );
        assert_eq!(check(json!({"y": 1.0}), Expectation::Answers).0, ProbeState::Met);
        let long = check(json!({"x": "z".repeat(900)}), Expectation::Answers).1;
        assert!(long.len() <= FOUND_BYTES_MAX && long.ends_with('…'));
    }
}
