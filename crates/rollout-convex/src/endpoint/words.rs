//! Owns the sentences about an endpoint that did not answer as it should, for an operator and without secrets.

use crate::error::{TransportError, span};

/// Why there is no whole answer.
pub(super) fn no_answer(endpoint: &str, error: &TransportError) -> String {
    match error {
        TransportError::NotSent { cause } => {
            format!("could not connect to endpoint {endpoint}: {cause}")
        }
        TransportError::TimedOut { after } => {
            format!("endpoint {endpoint} did not answer within {}", span(*after))
        }
        TransportError::Lost { cause } => {
            format!(
                "lost the connection to endpoint {endpoint} before its answer was complete: {cause}"
            )
        }
        TransportError::TooLong { bytes_max } => format!(
            "endpoint {endpoint} answered with more than {} MiB; ask for less",
            bytes_max >> 20
        ),
    }
}

/// Why an answer with this status does not count; `None` for 200. The body is not quoted: it may be a page of a proxy.
pub(super) fn refusal(endpoint: &str, path: &str, status: u16) -> Option<String> {
    Some(match status {
        200 => return None,
        401 | 403 => format!(
            "endpoint {endpoint} refused the request ({status}); put a valid credential into its file, or name one \
             under [endpoints.{endpoint}]"
        ),
        404 | 410 => format!("endpoint {endpoint} has nothing at {path} ({status})"),
        300..=399 => format!(
            "endpoint {endpoint} is somewhere else ({status}); redirects are not followed, correct its URL"
        ),
        429 => format!("endpoint {endpoint} is too busy ({status})"),
        502..=504 => format!("endpoint {endpoint} is not available ({status})"),
        500.. => format!("endpoint {endpoint} failed internally ({status})"),
        _ => format!("endpoint {endpoint} answered with {status}; only 200 counts"),
    })
}
