//! Owns what everybody should know who reads about a rollout: how the store does, and what its deployment does not tell or
//! has announced.
//!
//! One calm line each, and none where there is nothing to say.

use std::collections::BTreeMap;

use rollout_api::StoreStatus;
use rollout_convex::{Convex, Unwatched};

/// All of it in lines; `deployments` are those of live rollouts, by name.
pub(crate) fn notice<'a>(
    store: &StoreStatus,
    deployments: impl IntoIterator<Item = (&'a str, &'a Convex)>,
) -> Option<String> {
    let each = deployments.into_iter().flat_map(|(name, convex)| {
        let announced = convex.deprecation().map(sentence);
        announced.into_iter().chain(unwatched(name, convex.unwatched()))
    });
    let lines: Vec<_> = store.notice().into_iter().chain(each).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// `Not watched on production: code pushes, rewrites of flags (why)`.
fn unwatched(deployment: &str, all: Vec<Unwatched>) -> Option<String> {
    let mut by_why: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for Unwatched { what, why, advice: _ } in all {
        by_why.entry(why).or_default().push(what);
    }
    let parts: Vec<_> =
        by_why.iter().map(|(why, what)| format!("{} ({why})", what.join(", "))).collect();
    (!parts.is_empty()).then(|| format!("Not watched on {deployment}: {}", parts.join("; ")))
}

fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacking(what: &'static str, why: &str) -> Unwatched {
        Unwatched { what, why: why.to_owned(), advice: "ask" }
    }

    #[test]
    fn what_has_one_reason_is_said_once() {
        assert_eq!(unwatched("prod", vec![]), None);
        let both = vec![lacking("code pushes", "403"), lacking("rewrites of flags", "403")];
        let line = "Not watched on prod: code pushes, rewrites of flags (403)";
        assert_eq!(unwatched("prod", both).as_deref(), Some(line));
        let two = vec![lacking("code pushes", "too old"), lacking("who wrote a flag", "no log")];
        let line = "Not watched on prod: who wrote a flag (no log); code pushes (too old)";
        assert_eq!(unwatched("prod", two).as_deref(), Some(line));
        assert_eq!(sentence("deployment p"), "Deployment p");
    }
}
