//! Owns reading request bodies: small ones, as JSON, and nothing else.
//!
//! A body that says it is too large is refused before a byte of it is read; one that does not say so, as soon as it is.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest as _, Request};
use axum::http::header::CONTENT_LENGTH;
use rollout_api::Code;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::refusal::Refused;

/// Largest request body. A plan has at most 256 KiB; escaped as JSON it still fits.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Reads a body as one JSON value.
pub(super) async fn read(request: Request) -> Result<Value, Refused> {
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    let bytes = Bytes::from_request(request, &()).await.map_err(|rejection| {
        let is_limit = matches!(
            rejection,
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_))
        );
        match is_limit {
            true => too_large(),
            false => unreadable(&format!("it ended early ({})", rejection.body_text())),
        }
    })?;
    serde_json::from_slice(&bytes).map_err(|error| unreadable(&error.to_string()))
}

/// Takes a JSON value as a request of this type.
pub(super) fn take<T: DeserializeOwned>(value: Value) -> Result<T, Refused> {
    serde_json::from_value(value).map_err(|error| unreadable(&error.to_string()))
}

fn too_large() -> Refused {
    let detail = format!(
        "the body is larger than {} KiB; a plan file has at most 256 KiB",
        BODY_BYTES_MAX / 1024
    );
    Refused::new(Code::BodyTooLarge, detail)
}

fn unreadable(why: &str) -> Refused {
    let detail =
        format!("the body cannot be read: {why}; send one JSON object as docs/api.md says");
    Refused::new(Code::BadBody, detail)
}
