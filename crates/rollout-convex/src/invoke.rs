//! Owns running a user's function for its effect: once, and never again.
//!
//! Invariant: after the request may have left, only an answer can say what happened; everything else is unknown.

use std::collections::BTreeMap;

use rollout_core::{EffectKey, Fault, FaultClass, FunctionCall, Outcome};

use crate::convex::Convex;
use crate::error::Stakes;
use crate::error::stopped::{may_be_stopped, thrown_words};
use crate::functions::bound_args;
use crate::measure::{not_a_pointer, place};
use crate::transport::Transport;
use crate::value::{ConvexValue, Pointed};
use crate::wire::{Call, Ran};

impl<T: Transport> Convex<T> {
    /// Runs a function and takes the text at `pointer` from its result.
    pub(crate) async fn invoke(
        &self,
        key: EffectKey,
        call: &FunctionCall,
        pointer: &str,
        bindings: &BTreeMap<String, String>,
    ) -> Outcome {
        let permanent = |reason| Outcome::failed(Fault::new(FaultClass::Permanent, None, reason));
        let args = match bound_args(call, bindings) {
            Ok(args) => args,
            Err(reason) => return permanent(reason),
        };
        match self.run(key, &Call::Run { path: call.path.clone(), args }).await {
            Ok(Ran::Returned(result)) => match text_at(&result, pointer) {
                Ok(value) => Outcome::Invoked { value },
                Err(reason) => {
                    permanent(format!("{} ran, but its result cannot be used: {reason}", call.path))
                }
            },
            Ok(Ran::Threw(thrown)) => {
                let state = if may_be_stopped(&thrown) { self.state(key).await } else { None };
                permanent(thrown_words(&call.path, &thrown, state.as_deref(), &self.name))
            }
            Err(error) => error.outcome(Stakes::Once, &self.name),
        }
    }
}

/// A text, or a number as text.
fn text_at(result: &ConvexValue, pointer: &str) -> Result<String, String> {
    match result.at(pointer) {
        Pointed::Value(ConvexValue::Text(text)) if text.len() <= TEXT_BYTES_MAX => Ok(text.clone()),
        Pointed::Value(ConvexValue::Text(text)) => {
            Err(format!("the text {} is too long: {} bytes", place(pointer), text.len()))
        }
        Pointed::Value(ConvexValue::Number(number)) => Ok(number.to_string()),
        Pointed::Value(ConvexValue::Integer(number)) => Ok(number.to_string()),
        Pointed::Value(other) => {
            Err(format!("expected a text {}, got {}", place(pointer), other.kind()))
        }
        Pointed::Nothing(words) => Err(words),
        Pointed::NotAPointer => Err(not_a_pointer(pointer)),
    }
}

/// Longest text that is taken; an id is far shorter.
const TEXT_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_and_numbers_are_taken() {
        let text = |json, pointer| text_at(&ConvexValue::decode(json).unwrap(), pointer);
        assert_eq!(text(json!("j57"), ""), Ok("j57".into()));
        assert_eq!(text(json!({"id": 5.0}), "/id"), Ok("5".into()));
        assert_eq!(text(json!({"id": {"$integer": "KgAAAAAAAAA="}}), "/id"), Ok("42".into()));
        assert_eq!(text(json!(null), ""), Err("expected a text as the result, got null".into()));
        assert_eq!(text(json!({"a": 1.0}), "/id"), Err("nothing at /id; the result has a".into()));
        assert!(text(json!("x".repeat(2_000)), "").is_err());
    }
}
