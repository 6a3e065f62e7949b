//! The module that apps drop in, `crates/rollout-convex/convex`: compiled strictly, and run by the real `convex-test`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rollout_core::{Expectation, Probe, ProbeKind, Scalar};
use rollout_e2e::{SMALLEST, Workshop, finish};
use serde_json::{Value, json};

use crate::workshop;

#[tokio::test]
async fn it_compiles_strictly_and_answers_what_plans_read() {
    let Some(workshop) = workshop("it_compiles_strictly_and_answers_what_plans_read") else {
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = tempfile::tempdir_in(workshop.dir()).unwrap();
    // Below the workshop, because node looks for packages in the folders above.
    copy(&root.join("tests/conformance/node"), folder.path());
    copy(&root.join("crates/rollout-convex/convex"), &folder.path().join("convex"));
    let provided =
        json!({ "pointers": pointers_without_sources(), "probes": probes_of_the_guide(root) });
    fs::write(folder.path().join("provided.json"), provided.to_string()).unwrap();

    run(&workshop, folder.path(), "typescript/bin/tsc", &[]).await;
    let report = folder.path().join("report.json");
    let output = format!("--outputFile={}", report.display());
    let arguments = ["run", "--reporter=json", "--reporter=default", &output];
    run(&workshop, folder.path(), "vitest/vitest.mjs", &arguments).await;
    let report: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    let count = |name: &str| report[name].as_u64().unwrap();
    assert!(count("numPassedTests") >= 20, "{report}");
    assert_eq!(count("numPassedTests"), count("numTotalTests"), "a test did not run: {report}");
}

/// Which pointers a plan without sources reads, by the name of the source: asked from the plan itself.
fn pointers_without_sources() -> Value {
    let plan = rollout_api::plan::parse(SMALLEST).unwrap();
    let mut pointers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for criterion in &plan.criteria {
        pointers.entry(&criterion.source).or_default().push(&criterion.pointer);
    }
    json!(pointers)
}

/// What the plan of the guide, `examples/guide.toml`, verifies by asking the module after a flag was read back.
fn probes_of_the_guide(root: &Path) -> Value {
    let text = fs::read_to_string(root.join("examples/guide.toml")).unwrap();
    let plan = rollout_api::plan::parse(&text).unwrap();
    let probes = plan.phases.iter().flat_map(|phase| &phase.verify);
    let asked = |probe: &Probe| match &probe.kind {
        ProbeKind::Function { call, pointer, expect } => {
            let Expectation::Equals(Scalar::Text(text)) = expect else { panic!("{probe:?}") };
            Some(json!({ "function": call.path, "pointer": pointer, "equals": text }))
        }
        ProbeKind::VariableSet(_) => None,
    };
    probes.filter_map(asked).collect()
}

async fn run(workshop: &Workshop, folder: &Path, script: &str, arguments: &[&str]) {
    let mut command = workshop.node(script, folder);
    command.args(arguments);
    let output = finish(command).await;
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}:\n{out}\n{err}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}
