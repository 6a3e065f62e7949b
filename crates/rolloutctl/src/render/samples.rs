//! Owns one rollout to show in tests: the guide's, six hours into its second window.

use jiff::tz::{TimeZone, offset};
use rollout_api::{
    BakeView, CheckpointView, FlagView, ItemView, ItemWhen, PhaseBrief, PhaseView, ReadingView,
    RolloutDetail, RolloutStatus, RolloutSummary, StoreWord, ValueView,
};

use crate::env::{Env, Screen};

/// Surroundings that are the same everywhere.
pub(crate) fn env() -> Env {
    Env {
        socket: "/nowhere/rolloutd.sock".into(),
        width: 80,
        rows: None,
        zone: TimeZone::fixed(offset(-6)),
        stdout: Screen::Pipe,
        stderr: Screen::Pipe,
    }
}

/// The rollout.
pub(crate) fn rollout() -> RolloutDetail {
    RolloutDetail {
        summary: RolloutSummary {
            id: "r1".into(),
            plan: "agent-flags".into(),
            title: "Production Feature Rollout Log".into(),
            deployment: "production".into(),
            url: "https://veracious-alligator-638.convex.cloud".into(),
            status: RolloutStatus::Running,
            headline: "watching, next checkpoint T+6h".into(),
            phase: Some(PhaseBrief {
                number: 2,
                name: "prompt-message-id".into(),
                stage: "baking".into(),
                of: 5,
            }),
            holds: Vec::new(),
            open_incidents: Vec::new(),
            created_at: "2025-12-16T12:52:00Z".into(),
            next_check: Some("2025-12-17T18:30:00Z".into()),
            next_deadline: Some("2025-12-17T18:30:00Z".into()),
            seq: 71,
            rolled_back: false,
            rolling_back: false,
        },
        digest: "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03".into(),
        phases: vec![first_phase(), second_phase()],
        incidents: Vec::new(),
        last_reading: Some(reading()),
        waits: vec!["the check at 2025-12-17T18:30:00Z".into()],
        allowed: ["check", "hold", "promote", "abort", "rollback"].map(String::from).into(),
        notice: None,
        store: StoreWord::Ok,
    }
}

fn first_phase() -> PhaseView {
    PhaseView {
        number: 1,
        name: "retry-with-backoff".into(),
        group: "Observability".into(),
        purpose: "Retry transient failures".into(),
        risk: "Low".into(),
        flags: vec![flag("ENABLE_RETRY_WITH_BACKOFF")],
        stage: "completed".into(),
        attempt: 1,
        bake: Some(bake("2025-12-16T12:54:00Z", 86_400, 10_000)),
        checkpoints: vec![checkpoint("T+24h", "2025-12-17T12:54:00Z", Some("pass"))],
        items: vec![item("runbook", "Runbook reviewed", Some("ana"))],
        approvals_needed: 0,
        approved_by: Vec::new(),
        skipped_why: None,
    }
}

fn second_phase() -> PhaseView {
    let mut dashboard = item("dashboard", "Monitoring dashboard working", None);
    dashboard.by_machine = true;
    PhaseView {
        number: 2,
        name: "prompt-message-id".into(),
        purpose: "Retry-safe streaming".into(),
        flags: vec![flag("ENABLE_PROMPT_MESSAGE_ID")],
        stage: "baking".into(),
        bake: Some(bake("2025-12-17T12:57:00Z", 19_800, 9_833)),
        checkpoints: vec![
            CheckpointView {
                late_secs: Some(420),
                ..checkpoint("T+1h", "2025-12-17T13:57:00Z", Some("warn"))
            },
            checkpoint("T+6h", "2025-12-17T18:57:00Z", None),
        ],
        items: vec![dashboard, item("runbook", "Runbook reviewed", None)],
        approvals_needed: 1,
        approved_by: vec!["ben".into()],
        ..first_phase()
    }
}

fn flag(name: &str) -> FlagView {
    FlagView {
        name: name.into(),
        on: "true".into(),
        safe: "false".into(),
        seen: Some("true".into()),
        seen_at: Some("2025-12-17T18:00:00Z".into()),
    }
}

fn bake(started_at: &str, observed_secs: u64, coverage_bp: u16) -> BakeView {
    BakeView {
        started_at: started_at.into(),
        window_secs: 86_400,
        ends_at: "2025-12-18T12:57:00Z".into(),
        observed_secs,
        unobserved_secs: 0,
        coverage_bp,
    }
}

fn checkpoint(label: &str, due: &str, verdict: Option<&str>) -> CheckpointView {
    CheckpointView {
        label: label.into(),
        due: Some(due.into()),
        verdict: verdict.map(String::from),
        judged_at: verdict.map(|_| due.into()),
        late_secs: None,
    }
}

fn item(name: &str, text: &str, by: Option<&str>) -> ItemView {
    ItemView {
        name: name.into(),
        text: text.into(),
        when: ItemWhen::Before,
        by_machine: false,
        done: by.is_some(),
        by: by.map(String::from),
        at: by.map(|_| "2025-12-16T12:53:00Z".into()),
    }
}

fn reading() -> ReadingView {
    let value =
        |label: &str, shown: &str, verdict: &str, target: &str, alert: Option<&str>| ValueView {
            criterion: label.to_lowercase().replace(' ', "_"),
            label: label.into(),
            shown: shown.into(),
            verdict: verdict.into(),
            reason: None,
            target: Some(target.into()),
            alert: alert.map(String::from),
        };
    let mut missing = value("Response Time", "—", "no data", "< 5000", Some("> 10000"));
    missing.reason = Some("null".into());
    ReadingView {
        at: "2025-12-17T18:00:00Z".into(),
        purpose: "check".into(),
        verdict: "no data".into(),
        values: vec![
            value("Health Status", "healthy", "pass", "= healthy", None),
            value("Error Rate", "0.4 %", "pass", "< 1", Some("> 5")),
            missing,
        ],
    }
}
