//! Owns the skeleton of a page: what a Markdown reader would see of it without its words. Two pages with the same
//! skeleton have the same structure.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::phase;
use super::script::{Script, hours, mins};
use crate::{Command, IncidentNumber, Input, Measured, Plan};

/// One word per line of the page: heading with its level, row with its columns, list item, fence, text, blank.
pub(super) fn skeleton(page: &str) -> Vec<String> {
    let mut fence: Option<String> = None;
    let mut lines = Vec::new();
    for line in page.lines() {
        if let Some(open) = &fence {
            let closes = line.starts_with(open.as_str()) && line.trim_matches('`').is_empty();
            lines.push(if closes { "fence" } else { "code" }.to_string());
            if closes {
                fence = None;
            }
            continue;
        }
        let ticks = line.chars().take_while(|letter| *letter == '`').count();
        let hashes = line.chars().take_while(|letter| *letter == '#').count();
        lines.push(match line.chars().next() {
            _ if ticks >= 3 => {
                fence = Some("`".repeat(ticks));
                "fence".to_string()
            }
            Some('#') => format!("heading {hashes}"),
            Some('|') => format!("row of {}", bars(line)),
            Some('-') if line != "---" => "item".to_string(),
            Some(_) => "text".to_string(),
            None => "blank".to_string(),
        });
    }
    assert!(fence.is_none(), "a code block is left open:\n{page}");
    lines
}

/// Bars that are not escaped.
fn bars(line: &str) -> usize {
    let mut letters = line.chars();
    let mut count = 0;
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                letters.next();
            }
            '|' => count += 1,
            _ => {}
        }
    }
    count
}

/// A rollout in which much goes wrong, so that most texts come to be shown.
pub(super) fn troubled(plan: Plan, mean: &str) -> Script {
    let mut script = Script::with(plan, mean);
    script.tick_everything();
    script.order("bob", Command::Approve(phase(3)), "fine");
    script.world.failing_writes = 1;
    script.run_for(hours(3));
    script.world.down = Some(super::fault(&format!("no answer{mean}")));
    script.run_for(hours(2));
    script.world.down = None;
    script.run_for(hours(1));
    script.input(Input::ClockJumped { by: mins(-10) });
    script.order("alice", Command::Resume, "clock is right");
    script.world.set("status", Measured::Text(format!("unwell{mean}")));
    script.run_for(hours(1));
    script.world.set("status", Measured::Text(format!("healthy{mean}")));
    script.world.set("error_rate", Measured::Number(9.0));
    script.run_for(hours(1));
    script.world.set("error_rate", Measured::Number(0.0));
    script.run_for(hours(1));
    script.order("alice", Command::ResolveIncident(IncidentNumber::new(1).unwrap()), "mended");
    script.order("alice", Command::Retry, "again");
    script.run_for(mins(1));
    script.tick_everything();
    script.run_for(hours(2));
    script.order("alice", Command::Promote, "enough");
    script.run_for(hours(3));
    script.order("alice", Command::Promote, "enough");
    script.world.smoke_state = "failed";
    script.run_for(hours(1));
    script
}
