//! Owns the calm words of `rolloutd serve --check`: what is configured, and what is wrong with it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::access::Operators;
use crate::config::Config;
use crate::wiring::Condition;

/// What a configuration says, with what is wrong with its deployments.
pub(crate) fn of(path: &Path, config: &Config, conditions: &BTreeMap<String, Condition>) -> String {
    let mut text = String::new();
    let mut row = |heading: &str, words: String| {
        // Writing into a string cannot fail.
        writeln!(text, "{heading:<14} {words}").ok();
    };
    row("configuration", path.display().to_string());
    row("state", config.state_dir.display().to_string());
    row("socket", format!("{} (mode {:04o})", config.socket.display(), config.socket_mode));
    row("credentials", config.credentials_dir.display().to_string());
    row("operators", operators(&config.operators));
    if config.deployments.is_empty() {
        row("deployments", "none yet".to_owned());
    }
    for (index, (name, deployment)) in config.deployments.iter().enumerate() {
        let condition = conditions.get(name).cloned().unwrap_or_default();
        let state = condition.complaint.unwrap_or_else(|| "the key is there".to_owned());
        let heading = if index == 0 { "deployments" } else { "" };
        row(heading, format!("{name}: {}, {state}", deployment.url));
        for remark in condition.remarks {
            row("", format!("  note: {remark}"));
        }
    }
    text
}

fn operators(operators: &Operators) -> String {
    match operators {
        Operators::Anyone => "whoever may open the socket".to_owned(),
        Operators::Only(entries) => entries.iter().cloned().collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::DeploymentConfig;

    #[test]
    fn the_summary_says_what_is_there_and_what_is_missing() {
        let deployment = |url: &str| DeploymentConfig {
            url: url.to_owned(),
            credential: "/c/x.key".into(),
            timeout: Duration::from_secs(20),
        };
        let config = Config {
            state_dir: "/s".into(),
            socket: "/r/d.sock".into(),
            socket_mode: 0o660,
            credentials_dir: "/c".into(),
            endpoints: BTreeMap::new(),
            deployments: BTreeMap::from([
                ("a".to_owned(), deployment("https://a")),
                ("b".to_owned(), deployment("https://b")),
            ]),
            operators: Operators::Anyone,
        };
        let away = Condition {
            complaint: Some("there is no credential /c/b.key".to_owned()),
            remarks: Vec::new(),
        };
        let risky = Condition { complaint: None, remarks: vec!["anybody may read it".to_owned()] };
        let conditions = BTreeMap::from([("a".to_owned(), risky), ("b".to_owned(), away)]);
        let text = of(Path::new("/e/rolloutd.toml"), &config, &conditions);
        assert_eq!(
            text,
            "configuration  /e/rolloutd.toml\n\
             state          /s\n\
             socket         /r/d.sock (mode 0660)\n\
             credentials    /c\n\
             operators      whoever may open the socket\n\
             deployments    a: https://a, the key is there\n\
             \x20                note: anybody may read it\n\
             \x20              b: https://b, there is no credential /c/b.key\n"
        );
    }
}
