//! What must be written down: a page for every error code, a line for every dependency, a place in the list for every
//! decision.

use rollout_api::Code;

use crate::tree::{manifest, paths_below, read, root};

#[test]
fn every_error_code_has_its_page() {
    for code in Code::ALL {
        let path = format!("docs/errors/{code}.md");
        let page = read(&path);
        let heading = format!("# {code}: {}", code.title());
        assert_eq!(page.lines().next(), Some(heading.as_str()), "{path}");
        for section in ["## What it means", "## What to do"] {
            assert!(page.contains(section), "{path} has no `{section}`");
        }
        let (status, exit) = (code.status(), code.exit().code());
        let line = page.lines().find(|line| line.starts_with("HTTP status ")).unwrap_or_default();
        let is_true = line.starts_with(&format!("HTTP status {status}"))
            && line.contains("exit code of `rollout")
            && line.contains(&format!("` {exit}"));
        assert!(is_true, "{path} says `{line}`; it is HTTP status {status}, exit code {exit}");
    }
}

#[test]
fn every_page_is_about_a_code() {
    for path in paths_below("docs/errors") {
        let name = path.trim_start_matches("docs/errors/").trim_end_matches(".md");
        assert!(name == "README" || Code::from_text(name).is_some(), "{path} is about no code");
    }
    let list = read("docs/errors/README.md");
    for code in Code::ALL {
        assert!(
            list.contains(&format!("[{code}]({code}.md)")),
            "docs/errors/README.md does not list {code}"
        );
    }
}

#[test]
fn every_dependency_has_its_line() {
    let page = read("docs/dependencies.md");
    let root = manifest("Cargo.toml");
    let all = root["workspace"]["dependencies"].as_table().unwrap();
    for (name, _) in all.iter().filter(|(_, value)| value.get("path").is_none()) {
        assert!(
            page.contains(&format!("`{name}`")),
            "docs/dependencies.md says nothing about `{name}`"
        );
    }
}

#[test]
fn every_decision_is_listed() {
    let lists = ["docs/ARCHITECTURE.md", "docs/adr/README.md"];
    let lists: String =
        lists.into_iter().filter(|path| root().join(path).exists()).map(read).collect();
    let decisions: Vec<_> = paths_below("docs/adr")
        .into_iter()
        .map(|path| path.trim_start_matches("docs/adr/").to_string())
        .filter(|name| name.ends_with(".md") && name != "README.md")
        .collect();
    assert!(!decisions.is_empty(), "no decision is written down");
    for name in decisions {
        assert!(lists.contains(&name), "docs/adr/{name} is in no list");
    }
}
