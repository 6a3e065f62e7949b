//! Owns what makes a directory an app's `convex` directory, so that the module lands where `npx convex deploy` finds it.
//!
//! Makes nothing: a path that is mistyped, or is the app itself, is refused with what is meant instead.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The directory that an app's functions are in, unless its `convex.json` names another.
const USUAL: &str = "convex";

/// Refuses `dir` unless it is a `convex` directory: `npx convex dev` has put `_generated` into it, or it is the one of the
/// app around it.
pub(super) fn check(dir: &Path) -> Result<(), Failure> {
    let named = dir.display();
    let here = fs::canonicalize(dir).ok().filter(|dir| dir.is_dir()).ok_or_else(|| {
        Failure::Usage(format!(
            "{named} is no directory; --module wants the app's `{USUAL}` directory, which `npx convex dev` makes"
        ))
    })?;
    if here.join("_generated").is_dir() {
        return Ok(());
    }
    match here.ancestors().find(|dir| is_app(dir)).map(functions_of) {
        Some(functions) if fs::canonicalize(&functions).is_ok_and(|found| found == here) => Ok(()),
        Some(functions) if functions.is_dir() => Err(Failure::Usage(format!(
            "{named} is not the app's `{USUAL}` directory; that is {}",
            functions.display()
        ))),
        _ => Err(Failure::Usage(format!(
            "{named} is no `{USUAL}` directory: it has no `_generated` in it and no package.json beside it; `npx convex dev` makes one"
        ))),
    }
}

fn is_app(dir: &Path) -> bool {
    ["package.json", "convex.json"].iter().any(|name| dir.join(name).is_file())
}

/// Where the functions of the app in `app` are.
fn functions_of(app: &Path) -> PathBuf {
    let config = fs::read(app.join("convex.json")).ok();
    let config = config.and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
    let named = config.as_ref().and_then(|config| config.get("functions")?.as_str());
    app.join(named.unwrap_or(USUAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_directory_of_functions_is_one() {
        let app = std::env::temp_dir().join(format!("rolloutctl-app-{}", std::process::id()));
        let dirs = ["convex", "web/src/convex", "web/src/other", "made/_generated", "lib"];
        for dir in dirs {
            fs::create_dir_all(app.join(dir)).unwrap();
        }
        fs::write(app.join("package.json"), "{}").unwrap();
        fs::write(app.join("web/convex.json"), r#"{"functions": "src/convex/"}"#).unwrap();
        let said = |dir: &str| check(&app.join(dir)).map_err(|failure| failure.to_string());
        for dir in ["convex", "convex/../convex/.", "web/src/convex", "made"] {
            assert_eq!(said(dir), Ok(()), "{dir}");
        }
        for (dir, words) in [
            ("", "app's `convex` directory; that is "),
            ("lib", "app's `convex` directory; that is "),
            ("web/src/other", "web/src/convex"),
            ("convx", "is no directory"),
            ("package.json", "is no directory"),
        ] {
            let refused = said(dir).unwrap_err();
            assert!(refused.contains(words), "{dir}: {refused}");
        }
        fs::remove_file(app.join("package.json")).unwrap();
        assert!(said("convex").unwrap_err().contains("no package.json beside it"));
        assert!(!app.join("convx").exists(), "looking made something");
        fs::remove_dir_all(app).unwrap();
    }
}
