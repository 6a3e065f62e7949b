//! Owns `[[phases]]`: flags in both spellings, the window with its checkpoints, and what gates it.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use rollout_core::{
    ChangeWindow, FlagChange, FlagName, Phase, Plan, Precondition, Probe, ProbeKind, Risk,
};

use super::complaint::Complaint;
use super::items;
use super::tree::{Node, Table};

const KEYS: [&str; 14] = [
    "name",
    "group",
    "purpose",
    "risk",
    "rollback_impact",
    "flags",
    "bake",
    "checkpoints",
    "only_when",
    "verify",
    "before",
    "after",
    "approvals",
    "change_window",
];

const RISKS: [(&str, Risk); 3] =
    [("low", Risk::Low), ("medium", Risk::Medium), ("high", Risk::High)];

/// Reads the phases, in order.
pub(super) fn read(plan: &Table<'_>) -> Vec<Phase> {
    match plan.required("phases") {
        Some(_) => plan.tables("phases", &KEYS).iter().map(phase).collect(),
        None => Vec::new(),
    }
}

fn phase(table: &Table<'_>) -> Phase {
    let bake = table.optional("bake").map(|node| node.duration().unwrap_or(Plan::BAKE_MAX));
    let verify = table.tables("verify", &["name", "function", "args", "pointer", "equals"]);
    let probe = |table: &Table<'_>| Probe {
        name: table.text("name"),
        kind: items::function_question(table),
    };
    Phase {
        name: table.text("name"),
        group: table.text_or("group", ""),
        purpose: table.text_or("purpose", ""),
        risk: table.optional("risk").and_then(|node| node.word(&RISKS)).unwrap_or(Risk::Medium),
        rollback_impact: table.text_or("rollback_impact", "None"),
        flags: table.required("flags").map(|node| flags(&node)).unwrap_or_default(),
        bake: bake.unwrap_or(SignedDuration::ZERO),
        checkpoints: checkpoints(table),
        only_when: table.optional("only_when").and_then(|node| precondition(&node)),
        verify: verify.iter().map(probe).collect(),
        before: items::read(table, "before"),
        after: items::read(table, "after"),
        approvals: table.optional("approvals").and_then(|node| node.small_number()).unwrap_or(0),
        change_window: table.optional("change_window").and_then(|node| change_window(&node)),
    }
}

/// `["ENABLE_X"]`, or `{ ENABLE_X = { on = "true", safe = "false" } }`.
fn flags(node: &Node<'_>) -> BTreeMap<FlagName, FlagChange> {
    let mut flags = BTreeMap::new();
    if node.is_list() {
        for entry in node.list() {
            let Some(name) = entry.text().and_then(|name| flag_name(name, &entry)) else {
                continue;
            };
            let change = FlagChange { on: "true".to_string(), safe: "false".to_string() };
            if flags.insert(name.clone(), change).is_some() {
                entry.complain(Complaint::new(format!("the flag `{name}` is in this list twice")));
            }
        }
        return flags;
    }
    let Some(table) = node.open_table() else { return flags };
    for (name, entry) in table.each() {
        let values = entry.table(&["on", "safe"]);
        if let (Some(name), Some(values)) = (flag_name(name, &entry), values) {
            flags.insert(name, FlagChange { on: values.text("on"), safe: values.text("safe") });
        }
    }
    flags
}

fn flag_name(name: &str, node: &Node<'_>) -> Option<FlagName> {
    let flag = FlagName::new(name);
    if flag.is_none() {
        let hint = "letters, digits and underscores, not starting with a digit";
        node.complain(Complaint::hinted(
            format!("`{name}` is no name of an environment variable"),
            hint,
        ));
    }
    flag
}

/// The offsets. One that cannot be read keeps its place with a value that offends no neighbour.
fn checkpoints(table: &Table<'_>) -> Vec<SignedDuration> {
    let mut last = SignedDuration::ZERO;
    let offset = |node: Node<'_>| {
        last = node.duration().unwrap_or_else(|| last.saturating_add(SignedDuration::from_secs(1)));
        last
    };
    table.list("checkpoints").into_iter().map(offset).collect()
}

fn precondition(node: &Node<'_>) -> Option<Precondition> {
    let table = node.table(&["variable", "function", "args", "pointer", "equals", "otherwise"])?;
    if table.optional("variable").is_none() && table.optional("function").is_none() {
        let hint = "e.g. { variable = \"LOG_PROVIDER_URL\" }";
        table.complain(Complaint::hinted("`only_when` asks for nothing", hint));
        return None;
    }
    let kind = items::question(&table)?;
    let (name, default) = match &kind {
        ProbeKind::VariableSet(name) => (name.to_string(), format!("{name} is not set")),
        ProbeKind::Function { call, .. } => {
            (call.path.clone(), format!("{} answers otherwise", call.path))
        }
    };
    Some(Precondition {
        probe: Probe { name, kind },
        otherwise: table.text_or("otherwise", &default),
    })
}

fn change_window(node: &Node<'_>) -> Option<ChangeWindow> {
    let table = node.table(&["cron", "lasts", "zone"])?;
    let cron = table.required("cron").and_then(|node| node.take(cron_fields(node.text()?)));
    let lasts = table.required("lasts").and_then(|node| {
        let lasts = node.duration()?;
        match lasts.is_zero() {
            true => node.take(Err(Complaint::new("a change window of no length never opens"))),
            false => Some(lasts),
        }
    });
    let zone = table.required("zone").and_then(|node| node.take(zone_name(node.text()?)));
    Some(ChangeWindow { cron: cron?, lasts: lasts?, zone: zone? })
}

/// Five fields of characters that cron knows. The daemon, which has the calendar, checks the rest before it starts a plan.
fn cron_fields(text: &str) -> Result<String, Complaint> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let hint = "minute, hour, day of month, month, day of week, e.g. `0 9 * * 1-5`";
    if fields.len() != 5 {
        let message = format!("cron takes five fields, and `{text}` has {}", fields.len());
        return Err(Complaint::hinted(message, hint));
    }
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "*/,-?#".contains(letter);
    match fields.iter().find(|field| !field.chars().all(fits)) {
        Some(field) => Err(Complaint::hinted(format!("`{field}` is no cron field"), hint)),
        None => Ok(fields.join(" ")),
    }
}

fn zone_name(text: &str) -> Result<String, Complaint> {
    let fits = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_-+".contains(c))
    };
    match text == "UTC" || (text.contains('/') && text.split('/').all(fits)) {
        true => Ok(text.to_string()),
        false => Err(Complaint::hinted(
            format!("`{text}` is no time zone"),
            "e.g. `America/Chicago` or `UTC`",
        )),
    }
}
