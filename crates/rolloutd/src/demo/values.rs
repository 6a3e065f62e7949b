//! Owns the few numbers of a reading that a person looks at first: those with an alert threshold, short.

use rollout_api::JournalEntry;
use rollout_core::{Criterion, Plan, Unit};
use serde_json::Value;

/// The values of a `reading_taken` entry in one line: `error rate 0.42 %, completion rate 99.6 %`. Counts of zero are left
/// out; they are good news and there are many.
pub(super) fn key_values(entry: &JournalEntry, plan: &Plan) -> String {
    let values = entry.details.get("values").and_then(Value::as_array);
    let values = values.map(Vec::as_slice).unwrap_or_default();
    let telling = plan.criteria.iter().filter(|criterion| criterion.alert.is_some());
    let shown = telling.filter_map(|criterion| {
        let value = values.iter().find(|value| value["criterion"] == criterion.name.as_str())?;
        let shown = match value["value"].as_f64() {
            Some(0.0) if criterion.unit == Unit::Count => return None,
            Some(number) => short(criterion, number),
            None => value["reason"].as_str().unwrap_or("no value").to_string(),
        };
        Some(format!("{} {shown}", criterion.label.to_lowercase()))
    });
    shown.take(VALUES_MAX).collect::<Vec<_>>().join(", ")
}

/// Values in one line: with two, a checkpoint's line still fits into 80 columns. The log has all of them.
const VALUES_MAX: usize = 2;

/// A value with its unit, without digits that nobody reads.
fn short(criterion: &Criterion, number: f64) -> String {
    match criterion.unit {
        Unit::Milliseconds => criterion.unit.show(number.round()),
        Unit::Percent | Unit::Seconds => criterion.unit.show((number * 100.0).round() / 100.0),
        Unit::Count | Unit::Text => criterion.unit.show(number),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shows_what_has_a_threshold_and_why_there_is_no_value() {
        let plan = rollout_api::plan::parse(super::super::GUIDE).unwrap();
        let values = json!([
            { "criterion": "alert_count", "value": 2, "reason": null },
            { "criterion": "stuck_workflows", "value": 0, "reason": null },
            { "criterion": "error_rate", "value": 0.4186, "reason": null },
            { "criterion": "completion_rate", "value": null, "reason": "null at /completionRate" },
            { "criterion": "response_time", "value": 1092.85, "reason": null },
        ]);
        let entry = JournalEntry {
            seq: 1,
            at: String::new(),
            actor: String::new(),
            note: None,
            kind: "reading_taken".into(),
            phase: None,
            text: String::new(),
            details: json!({ "values": values }),
        };
        assert_eq!(
            key_values(&entry, &plan),
            "error rate 0.42 %, completion rate null at /completionRate"
        );
    }
}
