//! Owns what a deployment says of changes: when a variable was written and by whom, and when code was pushed.
//!
//! Refuses to guess a time: what has none, or none that can be one, is left out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value as Json;

use super::{Response, WireError, parse};
use crate::value::ConvexValue;

/// One variable with the time of its last write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VariableRow {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) at: Timestamp,
}

/// One entry of the audit log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AuditEvent {
    /// In words: `member ada@example.com`.
    pub(crate) actor: String,
    pub(crate) variable: Option<String>,
    pub(crate) at: Timestamp,
}

/// Reads the answer to [`Call::QueryVariables`] with the times of the last writes; rows without one are left out.
pub(crate) fn decode_rows(value: ConvexValue) -> Result<Vec<VariableRow>, WireError> {
    let ConvexValue::List(rows) = value else {
        return Err(WireError::Unexpected("a list of environment variables"));
    };
    let row = |row| {
        let ConvexValue::Object(mut fields) = row else { return None };
        let mut text = |name: &str| match fields.remove(name) {
            Some(ConvexValue::Text(text)) => Some(text),
            _ => None,
        };
        let (name, value) = (text("name")?, text("value")?);
        Some(VariableRow { name, value, at: created(&fields)? })
    };
    Ok(rows.into_iter().filter_map(row).collect())
}

/// Reads the answer to [`Call::LastPush`]; `None` = never.
pub(crate) fn decode_push(value: ConvexValue) -> Result<Option<Timestamp>, WireError> {
    match value {
        ConvexValue::Null => Ok(None),
        ConvexValue::Object(fields) => Ok(created(&fields)),
        ConvexValue::Boolean(_)
        | ConvexValue::Number(_)
        | ConvexValue::Integer(_)
        | ConvexValue::Text(_)
        | ConvexValue::Bytes(_)
        | ConvexValue::List(_) => Err(WireError::Unexpected("the last push of code")),
    }
}

/// The time at which a row was made, in milliseconds since 1970 as the deployment has it.
fn created(fields: &BTreeMap<String, ConvexValue>) -> Option<Timestamp> {
    match fields.get("_creationTime") {
        Some(ConvexValue::Number(ms)) => moment_of(*ms),
        _ => None,
    }
}

/// Milliseconds since 1970, with their fraction down to the microsecond: two writes in one millisecond are two.
fn moment_of(ms: f64) -> Option<Timestamp> {
    let micros = (ms * 1_000.0).round();
    // Floats beyond this are no time of ours, and the cast below would cut them off.
    (micros.abs() < 9e15).then(|| Timestamp::from_microsecond(micros as i64).ok()).flatten()
}

/// Reads the answer to [`Call::AuditLog`]. What is not told is left out; entries without a time are none.
pub(crate) fn decode_audit(response: &Response) -> Result<Vec<AuditEvent>, WireError> {
    let body: AuditBody = parse(response, "a page of the audit log")?;
    let event = |item: AuditItem| {
        let kind = item.actor.get("kind").and_then(Json::as_str).unwrap_or("somebody");
        let who = ["email", "name", "id"].iter().find_map(|ending| named(&item.actor, ending));
        let actor = who.map_or_else(|| kind.to_owned(), |who| format!("{kind} {who}"));
        let variable = item.metadata.get("variable_name").and_then(Json::as_str);
        Some(AuditEvent {
            actor,
            variable: variable.map(str::to_owned),
            at: moment_of(item.create_time?)?,
        })
    };
    Ok(body.items.into_iter().filter_map(event).collect())
}

/// What an actor is called under a name that ends so. Beyond `kind` the names differ from kind to kind (`memberEmail`,
/// `tokenName`) and are not documented.
fn named(actor: &Json, ending: &str) -> Option<String> {
    let fields = actor.as_object()?.iter();
    let ends = |name: &str| name.to_ascii_lowercase().ends_with(ending);
    fields.filter(|(name, _)| ends(name)).find_map(|(_, value)| match value {
        Json::String(text) if !text.is_empty() => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Null | Json::Bool(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => None,
    })
}

#[derive(Deserialize)]
struct AuditBody {
    items: Vec<AuditItem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuditItem {
    #[serde(default)]
    actor: Json,
    #[serde(default)]
    create_time: Option<f64>,
    #[serde(default)]
    metadata: Json,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_actor_is_called_what_its_kind_calls_it() {
        let actor = |actor: Json| {
            let item = json!({ "actor": actor, "createTime": 1.0, "metadata": {} });
            let body = json!({ "items": [item] }).to_string().into_bytes();
            let page = decode_audit(&Response { status: 200, body, date: None }).unwrap();
            page[0].actor.clone()
        };
        let member = json!({ "kind": "member", "memberId": 7, "memberName": "Kim", "memberEmail": "kim@x.org" });
        assert_eq!(actor(member), "member kim@x.org");
        assert_eq!(actor(json!({ "kind": "token", "tokenId": 1, "tokenName": "ci" })), "token ci");
        assert_eq!(actor(json!({ "kind": "token", "tokenId": 1, "name": "" })), "token 1");
        assert_eq!(actor(json!({ "kind": "system" })), "system");
        assert_eq!(actor(json!({ "email": "kim@x.org" })), "somebody kim@x.org");
        assert_eq!(actor(Json::Null), "somebody");
    }
}
