//! Every script of `script/`, played with the unmodified command line against a deployment of its own.
//!
//! The scripts are their own golden files. Their expectations are the contract's transcripts (`convex-contract.md`, sections
//! 4 and 10), which were taken from the same command line and read from the backend's source; where the contract leaves
//! words out, the command line's own source says them. `BLESS=1` writes down what came, for a newer command line: read the
//! difference before it is kept.

use std::fs;
use std::path::Path;

use crate::stage::Stage;
use crate::transcript::{Part, parse};
use crate::workshop;

#[tokio::test]
async fn variables() {
    play("variables").await;
}

#[tokio::test]
async fn variables_from_a_file() {
    play("from_file").await;
}

#[tokio::test]
async fn functions() {
    play("functions").await;
}

#[tokio::test]
async fn keys() {
    play("keys").await;
}

#[tokio::test]
async fn faults() {
    play("faults").await;
}

#[tokio::test]
async fn deploy_key() {
    play("deploy_key").await;
}

#[tokio::test]
async fn logs() {
    play("logs").await;
}

#[tokio::test]
async fn function_spec() {
    play("function_spec").await;
}

/// Plays one script; every line must come out as it is written.
async fn play(name: &str) {
    let Some(workshop) = workshop(&format!("the script {name}")) else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/script");
    let path = path.join(format!("{name}.txt"));
    let text = fs::read_to_string(&path).unwrap();
    let mut stage = Stage::set(workshop).await;
    let mut played = String::new();
    let mut commands = 0;
    for Part { written, act, expected } in parse(&text) {
        let mut lines = written.clone();
        if let Some(act) = act {
            let came = stage.act(&act).await;
            if came != expected {
                let (expected, came) = (expected.join("\n"), came.join("\n"));
                println!("{}\n--- expected\n{expected}\n--- came\n{came}\n", written.join("\n"));
            }
            commands += usize::from(!came.is_empty());
            lines.extend(came);
        }
        played.extend(lines.iter().map(|line| format!("{line}\n")));
    }
    assert!(commands > 0, "{name} does nothing");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, played).unwrap();
    } else {
        assert!(played == text, "{name} did not come out as written; see above");
    }
}
