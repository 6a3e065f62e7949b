//! Owns functions: every one that a plan names exists, and can do what it is named for.

use std::collections::BTreeMap;

use crate::text::clip;
use crate::wire::{DeployedFunction, normal_path};

use super::entry::unanswered;
use super::look::Look;
use super::{Finding, Needs, Role, Wanted};

const CHECK: &str = "function";

/// One finding for each function and part; the places in the plan that name it stay apart where it fails.
pub(super) fn findings(look: &Look, needs: &Needs, name: &str) -> Vec<Finding> {
    if needs.functions.is_empty() {
        return Vec::new();
    }
    let deployed = match &look.functions {
        Ok(deployed) => deployed,
        Err(error) => return vec![unanswered(CHECK, look, error, name)],
    };
    let mut well = BTreeMap::new();
    let mut findings = Vec::new();
    for wanted in &needs.functions {
        let path = normal_path(&wanted.path);
        match deployed.iter().find(|known| known.path == path) {
            None => findings.push(missing(wanted, deployed)),
            Some(known) => match misfit(wanted, known) {
                Some(finding) => findings.push(finding),
                None => {
                    well.insert(path, described(known));
                }
            },
        }
    }
    let well =
        well.into_iter().map(|(path, words)| Finding::well(CHECK, format!("{path} is {words}")));
    well.chain(findings).collect()
}

/// Its type and who may call it: `a public query`.
pub(super) fn described(known: &DeployedFunction) -> String {
    let (article, kind) = match (known.kind.as_str(), known.is_internal) {
        ("Query", false) => ("a", "public query"),
        ("Query", true) => ("an", "internal query"),
        ("Mutation", false) => ("a", "public mutation"),
        ("Mutation", true) => ("an", "internal mutation"),
        ("Action", false) => ("a", "public action"),
        ("Action", true) => ("an", "internal action"),
        (other, _) => return clip(other, 40),
    };
    format!("{article} {kind}")
}

/// What does not fit, if anything.
fn misfit(wanted: &Wanted, known: &DeployedFunction) -> Option<Finding> {
    let path = &wanted.path;
    let finding = match (wanted.role, known.kind.as_str()) {
        (Role::Asked, "Mutation") => Finding::fail(
            CHECK,
            format!(
                "{path} is {}: each time it is asked it may change the app's data",
                described(known)
            ),
            "name a query here, or make the function one",
        )
        .barring(),
        (Role::Asked, "Action") => Finding::warn(
            CHECK,
            format!(
                "{path} is {}: it is asked again and again, and may do anything",
                described(known)
            ),
            "make it a query, unless it must call something outside",
        ),
        (Role::Creates, "Query") => Finding::fail(
            CHECK,
            format!("{path} is {}, which cannot create anything", described(known)),
            "name a mutation or an action for the smoke test to create with",
        )
        .barring(),
        (Role::Asked | Role::Creates | Role::Counted | Role::Mentioned, _) => return None,
    };
    Some(finding.at(&wanted.pointer))
}

fn missing(wanted: &Wanted, deployed: &[DeployedFunction]) -> Finding {
    let path = clip(&wanted.path, 120);
    let found = format!("there is no function {path} on the deployment");
    let advice = match nearest(&wanted.path, deployed) {
        names if names.is_empty() => {
            String::from("deploy the function, or correct its name in the plan")
        }
        names => {
            format!("deploy it, or correct its name in the plan; there is {}", names.join(", "))
        }
    };
    let finding = match wanted.role {
        Role::Mentioned => {
            Finding::warn(CHECK, format!("{found}; the log names it to people"), advice)
        }
        Role::Asked | Role::Creates | Role::Counted => {
            Finding::fail(CHECK, found, advice).barring()
        }
    };
    finding.at(&wanted.pointer)
}

/// Functions that may be meant: of the same name elsewhere, otherwise of the same module.
fn nearest<'a>(path: &str, deployed: &'a [DeployedFunction]) -> Vec<&'a str> {
    let path = normal_path(path);
    let parts = |path: &str| {
        let (module, function) = path.split_once(':').unwrap_or((path, "default"));
        (module.to_lowercase(), function.to_lowercase())
    };
    let (module, function) = parts(&path);
    let all = || deployed.iter().map(|known| known.path.as_str());
    let same_name: Vec<_> =
        all().filter(|known| parts(known).1 == function).take(NAMES_MAX).collect();
    if !same_name.is_empty() {
        return same_name;
    }
    all().filter(|known| parts(known).0 == module).take(NAMES_MAX).collect()
}

/// Most names that an advice lists.
const NAMES_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn function(path: &str, kind: &str) -> DeployedFunction {
        DeployedFunction { path: path.into(), kind: kind.into(), is_internal: true }
    }

    fn wanted(path: &str, role: Role) -> Wanted {
        Wanted { path: path.into(), role, pointer: "/sources/health".into() }
    }

    #[test]
    fn what_may_be_meant_is_named() {
        let deployed = [function("a/b:getHealth", "Query"), function("a/b:other", "Query")];
        assert_eq!(nearest("x:gethealth", &deployed), ["a/b:getHealth"]);
        assert_eq!(nearest("a/b:health", &deployed), ["a/b:getHealth", "a/b:other"]);
        assert!(nearest("x:y", &deployed).is_empty());
    }

    #[test]
    fn a_function_must_be_able_to_do_its_part() {
        use super::super::Standing::{Fail, Warn};
        let table = [
            (Role::Asked, "Query", None),
            (Role::Asked, "Action", Some(Warn)),
            (Role::Asked, "Mutation", Some(Fail)),
            (Role::Creates, "Query", Some(Fail)),
            (Role::Creates, "Mutation", None),
            (Role::Creates, "Action", None),
            (Role::Counted, "Action", None),
            (Role::Mentioned, "Mutation", None),
        ];
        for (role, kind, expected) in table {
            let found = misfit(&wanted("m:f", role), &function("m:f", kind));
            assert_eq!(found.map(|finding| finding.standing), expected, "{role:?} {kind}");
        }
    }
}
