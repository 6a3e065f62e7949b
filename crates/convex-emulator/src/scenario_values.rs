//! Values, names and durations inside a scenario file, each refused with its place.

use jiff::{SignedDuration, Span, SpanRelativeTo};
use toml::Value as Toml;

use crate::health::FIELDS;
use crate::scenario_file::ScenarioError;
use crate::value::Value;

pub(crate) fn read_span(text: &str, place: &str) -> Result<SignedDuration, ScenarioError> {
    let span = text.parse::<Span>().and_then(|span| {
        // Days are welcome in a scenario; emulator time has no time zone, so each has 24 hours.
        span.to_duration(SpanRelativeTo::days_are_24_hours())
    });
    span.ok()
        .filter(|span| !span.is_negative())
        .ok_or_else(|| ScenarioError::Duration { place: place.to_owned(), text: text.to_owned() })
}

pub(crate) fn read_scalar(value: Toml, place: &str) -> Result<Value, ScenarioError> {
    if value.is_table() || value.is_array() {
        let expected = "a number, a string or a boolean";
        return Err(ScenarioError::Unexpected { place: place.to_owned(), expected });
    }
    read_value(value, place)
}

pub(crate) fn read_value(value: Toml, place: &str) -> Result<Value, ScenarioError> {
    Ok(match value {
        Toml::String(text) => Value::Text(text),
        #[expect(clippy::cast_precision_loss, reason = "every Convex number is a float")]
        Toml::Integer(number) => Value::Float(number as f64),
        Toml::Float(number) => Value::Float(number),
        Toml::Boolean(flag) => Value::Bool(flag),
        Toml::Datetime(_) => {
            let expected = "a number, a string or a boolean instead of a date";
            return Err(ScenarioError::Unexpected { place: place.to_owned(), expected });
        }
        Toml::Array(items) => Value::Array(
            items.into_iter().map(|item| read_value(item, place)).collect::<Result<_, _>>()?,
        ),
        Toml::Table(entries) => Value::Object(
            entries
                .into_iter()
                .map(|(key, value)| Ok((key, read_value(value, place)?)))
                .collect::<Result<_, ScenarioError>>()?,
        ),
    })
}

pub(crate) fn known_field(field: String, place: &str) -> Result<String, ScenarioError> {
    known_name(&field, &FIELDS, place, "health field")?;
    Ok(field)
}

pub(crate) fn known_name(
    name: &str,
    known: &[&str],
    place: &str,
    kind: &'static str,
) -> Result<(), ScenarioError> {
    if known.contains(&name) {
        return Ok(());
    }
    let (place, name, known) = (place.to_owned(), name.to_owned(), known.join(", "));
    Err(ScenarioError::UnknownName { place, kind, name, known })
}
