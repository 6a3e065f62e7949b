//! Owns checklist items and the questions that machines answer for them: function, variable, thresholds.

use rollout_core::{ChecklistItem, Expectation, FlagName, Probe, ProbeKind, Proof};

use super::complaint::Complaint;
use super::top::function;
use super::tree::Table;

const KEYS: [&str; 8] =
    ["name", "text", "function", "args", "pointer", "equals", "variable", "check"];

/// Reads a list of items.
pub(super) fn read(owner: &Table<'_>, key: &str) -> Vec<ChecklistItem> {
    owner.tables(key, &KEYS).iter().map(item).collect()
}

fn item(table: &Table<'_>) -> ChecklistItem {
    let (name, text) = (table.text("name"), table.text("text"));
    let asked = question(table);
    let check = table.optional("check");
    if let (Some(_), Some(check)) = (&asked, &check) {
        check.complain(Complaint::hinted(
            "an item has one proof",
            "drop `check`, or the other question",
        ));
    }
    let proof = match (asked, check) {
        (Some(kind), _) => Proof::Machine(Probe { name: name.clone(), kind }),
        (None, Some(check)) => {
            check.word(&[("thresholds", ())]).map_or(Proof::Person, |()| Proof::ThresholdsSet)
        }
        (None, None) => Proof::Person,
    };
    ChecklistItem { name, text, proof }
}

/// The question in a table that may hold one: `function` with its arguments and expectation, or `variable`.
pub(super) fn question(table: &Table<'_>) -> Option<ProbeKind> {
    match (table.optional("function"), table.optional("variable")) {
        (Some(_), Some(variable)) => {
            variable
                .complain(Complaint::new("ask for a `function` or for a `variable`, not for both"));
            None
        }
        (Some(_), None) => Some(function_question(table)),
        (None, Some(variable)) => {
            let name = variable.text()?;
            let flag = FlagName::new(name);
            if flag.is_none() {
                variable.complain(Complaint::new(format!(
                    "`{name}` is no name of an environment variable"
                )));
            }
            flag.map(ProbeKind::VariableSet)
        }
        (None, None) => {
            for key in ["args", "pointer", "equals"] {
                if let Some(node) = table.optional(key) {
                    node.complain(Complaint::new(format!(
                        "`{key}` goes with a `function`, and there is none"
                    )));
                }
            }
            None
        }
    }
}

/// The question to a function, whose key must be there.
pub(super) fn function_question(table: &Table<'_>) -> ProbeKind {
    let equals = table.optional("equals").and_then(|node| node.scalar());
    ProbeKind::Function {
        call: function(table, "function", "args", "{}", &[]),
        pointer: table.text_or("pointer", ""),
        expect: equals.map_or(Expectation::Answers, Expectation::Equals),
    }
}
