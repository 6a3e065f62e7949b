//! Owns what the person who gave an order should know besides: that what they released will come back, and why.

use rollout_core::{EventKind, HoldReason};
use rollout_engine::Obeyed;

/// One line on the flags that were released and had foreign values when flags were read last. Perhaps they were set back since
/// then, so the order is carried out; nobody should believe that it was the end of it.
pub(crate) fn comes_back(obeyed: &Obeyed) -> Option<String> {
    let released = obeyed.entries.iter().filter_map(|entry| {
        let EventKind::Released { hold: HoldReason::Drift { flag } } = &entry.event.kind else {
            return None;
        };
        Some(flag)
    });
    let foreign = released.filter_map(|flag| obeyed.rollout.foreign_value(flag));
    let foreign: Vec<String> = foreign
        .map(|foreign| format!("{} (read {:.0})", foreign.words(), foreign.read_at))
        .collect();
    let id = obeyed.rollout.id();
    (!foreign.is_empty()).then(|| {
        format!(
            "flags are read again now; unless it was set back since it was read last, {id} is held again: {}",
            foreign.join("; ")
        )
    })
}
