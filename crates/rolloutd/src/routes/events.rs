//! Owns `GET /v1/rollouts/{id}/events`: the journal in pages, or as a stream for whoever accepts one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::response::{IntoResponse, Response};
use rollout_api::{Code, EventPage, Position};
use rollout_core::{Rollout, RolloutId, Seq};

use crate::view;

use super::App;
use super::path::{QueryParts, RolloutPath, bad_request};
use super::refusal::Refused;
use super::stream;

/// Entries of a page when nobody says how many.
const PAGE_DEFAULT: u64 = 100;
/// Entries of the largest page.
const PAGE_MAX: u64 = 1_000;

/// A page behind `?after=`, or everything behind `Last-Event-ID` as it happens.
pub(super) async fn events(
    State(app): State<Arc<App>>,
    RolloutPath(id): RolloutPath,
    query: QueryParts,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let after = query.number("after")?.unwrap_or(0);
    if !wants_stream(&headers) {
        let limit = query.number("limit")?.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
        return Ok(Json(page(&app, id, after, limit).await?).into_response());
    }
    let resumed = headers.get("last-event-id").map(|value| value.to_str().unwrap_or_default());
    let after = match resumed {
        Some(text) => Position::parse(text).ok_or_else(|| {
            bad_request(format!("`Last-Event-ID` must be the id of an event, not `{text}`"))
        })?,
        None => after.into(),
    };
    Ok(stream::open(&app, id, after).await?.into_response())
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|media_type| {
        media_type.split(';').next().is_some_and(|name| name.trim() == "text/event-stream")
    })
}

async fn page(app: &App, id: RolloutId, after: u64, limit: u64) -> Result<EventPage, Refused> {
    let rollout = app.handle.get(id).await.map_err(Refused::unread)?;
    check_place(app, &rollout, &after.into()).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let entries = match behind(after) {
        // One more than is shown tells whether there is more.
        Some(from) => {
            app.handle.page(id, from, limit.saturating_add(1)).await.map_err(Refused::unread)?
        }
        None => Vec::new(),
    };
    let shown = entries.iter().take(limit);
    let events: Vec<_> = shown.map(|entry| view::entry(entry, rollout.plan())).collect();
    let has_more = entries.len() > limit;
    let next_after = events.last().map(|entry| entry.seq).filter(|_| has_more);
    Ok(EventPage { events, next_after })
}

/// Refuses a place that is not in this journal. Whoever has read further than it goes, or something else at that place, has read
/// another journal, and would wait in silence until this one has grown past the old number.
pub(super) async fn check_place(
    app: &App,
    rollout: &Rollout,
    place: &Position,
) -> Result<(), Refused> {
    let (id, end) = (rollout.id(), rollout.seq().get());
    let found = if place.seq > end {
        format!("it ends at entry {end}")
    } else {
        let (Some(at), Some(seq)) = (&place.at, Seq::new(place.seq)) else { return Ok(()) };
        // What cannot be read now ends the stream at once, and its reader comes back with the same place.
        let Ok(entries) = app.handle.page(id, seq, 1).await else { return Ok(()) };
        match entries.first().map(|entry| view::moment(entry.event.at)) {
            Some(there) if there != *at => format!("its entry {seq} is of {there}, not of {at}"),
            Some(_) | None => return Ok(()),
        }
    };
    let detail = format!(
        "the journal of {id} does not have the place {place}: {found}; after the restore of a backup, read it from its first entry"
    );
    Err(Refused::new(Code::OtherJournal, detail))
}

/// The position behind this one; `None` where there can be none.
pub(super) fn behind(after: u64) -> Option<Seq> {
    Seq::new(after.checked_add(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_for_whoever_accepts_one() {
        let wants = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            wants_stream(&headers)
        };
        assert!(wants("text/event-stream"));
        assert!(wants("application/json, text/event-stream;q=0.9"));
        assert!(!wants("application/json"));
        assert!(!wants("*/*"));
        assert!(!wants_stream(&HeaderMap::new()));
    }
}
