//! Owns flags before a rollout: what they are set to now, against the values that the plan has for them.

use rollout_core::FlagChange;

use crate::text::clip;

use super::entry::unanswered;
use super::look::Look;
use super::{Finding, Needs};

const CHECK: &str = "flag";

/// One finding for each flag.
pub(super) fn findings(look: &Look, needs: &Needs, name: &str) -> Vec<Finding> {
    if needs.flags.is_empty() {
        return Vec::new();
    }
    let variables = match &look.variables {
        Ok(variables) => variables,
        Err(error) => return vec![unanswered(CHECK, look, error, name)],
    };
    let flags = needs.flags.iter();
    flags
        .map(|(flag, change)| finding(flag.as_str(), change, variables.get(flag.as_str())))
        .collect()
}

fn finding(flag: &str, change: &FlagChange, value: Option<&String>) -> Finding {
    match value {
        None => Finding::well(CHECK, format!("{flag} is not set, which counts as off")),
        Some(value) if *value == change.safe => {
            Finding::well(CHECK, format!("{flag} is `{}`, its safe value", shown(value)))
        }
        Some(value) if *value == change.on => Finding::warn(
            CHECK,
            format!(
                "{flag} is `{}` already: it is on, and nobody watched it being turned on",
                shown(value)
            ),
            format!("put it back to `{}`, or take its phase out of the plan", shown(&change.safe)),
        ),
        Some(value) => Finding::warn(
            CHECK,
            format!(
                "{flag} is `{}`, neither its safe value `{}` nor `{}`",
                shown(value),
                shown(&change.safe),
                shown(&change.on)
            ),
            "correct the value on the deployment, or the two values in the plan",
        ),
    }
}

fn shown(value: &str) -> String {
    clip(value, VALUE_BYTES_MAX)
}

/// Longest quotation of a value; one that switches something is a word.
const VALUE_BYTES_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::super::Standing;
    use super::*;

    #[test]
    fn a_flag_should_be_off() {
        let change = FlagChange { on: "true".into(), safe: "false".into() };
        let at =
            |value: Option<&str>| finding("A", &change, value.map(str::to_owned).as_ref()).standing;
        assert_eq!(at(None), Standing::Well);
        assert_eq!(at(Some("false")), Standing::Well);
        assert_eq!(at(Some("true")), Standing::Warn);
        assert_eq!(at(Some("")), Standing::Warn);
    }
}
