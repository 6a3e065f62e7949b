//! Owns the source `http`: which path is asked, and how the body of the answer becomes a document. Pure.
//!
//! Refuses every status but 200, and bodies that are not one JSON document: a page of a proxy is no health, and a health
//! check that answers 503 with details has not answered. `NaN` and infinity do not exist in JSON; a body that has them
//! anyway is refused as a whole.

use rollout_core::{Basis, Extent, HttpGet, Span, SpanEnd};
use serde_json::Value as Json;

use super::answer::Answer;
use super::page::Page;
use super::words;
use crate::value::ConvexValue;

/// The path to ask for, placeholders replaced.
///
/// # Errors
///
/// The answer, where there is nothing to ask: the endpoint cannot tell of the past.
pub(super) fn path(get: &HttpGet, span: Span) -> Result<String, Answer> {
    if span.end == SpanEnd::Past && !get.answers_for_a_range() {
        return Err(Answer::missing(&format!(
            "endpoint {} tells only of the present: its path has no $from and $to",
            get.endpoint
        )));
    }
    let value = |name: &str| match name {
        "from" => Some(span.from.as_millisecond().to_string()),
        "to" => Some(span.to.as_millisecond().to_string()),
        _ => None,
    };
    Ok(replaced(&get.path, &value))
}

/// What the answer means.
pub(super) fn read(get: &HttpGet, span: Span, page: &Page) -> Answer {
    let endpoint = &get.endpoint;
    if let Some(refusal) = words::refusal(endpoint, &get.path, page.status) {
        return Answer::failed(&refusal);
    }
    let basis = get.answers_for_a_range().then_some(Basis {
        from: span.from,
        to: span.to,
        samples: None,
        extent: Extent::Whole,
    });
    match &page.body {
        Ok(json) => Answer::Told { document: plain(json), basis },
        Err(instead) => Answer::failed(&format!("endpoint {endpoint} answered with {instead}")),
    }
}

/// `text` with every `$name` replaced that `value` knows. A name ends where its letters, digits and `_` end, so `$token`
/// is not `$to`.
pub(super) fn replaced(text: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let mut parts = text.split('$');
    let mut done = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (name, rest) = part.split_at(end.unwrap_or(part.len()));
        match value(name) {
            Some(value) => done.extend([value.as_str(), rest]),
            None => done.extend(["$", part]),
        }
    }
    done
}

/// Ordinary JSON as a value: without the deployment's wrappers, so a field may begin with `$`.
fn plain(json: &Json) -> ConvexValue {
    match json {
        Json::Null => ConvexValue::Null,
        Json::Bool(boolean) => ConvexValue::Boolean(*boolean),
        Json::Number(number) => ConvexValue::Number(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => ConvexValue::Text(text.clone()),
        Json::Array(items) => ConvexValue::List(items.iter().map(plain).collect()),
        Json::Object(fields) => {
            let fields = fields.iter().map(|(name, json)| (name.clone(), plain(json)));
            ConvexValue::Object(fields.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use rollout_core::{Measured, Unit};

    use super::super::target::Secret;
    use super::super::tests::{failed, moment, span};
    use super::*;

    fn get(path: &str) -> HttpGet {
        HttpGet { endpoint: "page".into(), path: path.into() }
    }

    fn page(status: u16, body: &str) -> Page {
        Page::new(status, body.as_bytes(), &Secret::default())
    }

    #[test]
    fn both_ends_in_the_path_answer_for_the_past_and_nothing_else_does() {
        let past = span("10:00", "10:15", SpanEnd::Past);
        let now = Span { end: SpanEnd::Now, ..past };
        let (from, to) = (moment("10:00").as_millisecond(), moment("10:15").as_millisecond());
        let range = get("/h?a=$from&b=$to&t=$token&$");
        assert_eq!(path(&range, past), Ok(format!("/h?a={from}&b={to}&t=$token&$")));
        for path_text in ["/h", "/h?a=$from", "/h?a=$to", "/h?$fromage=1&$tofu=1"] {
            assert!(matches!(path(&get(path_text), past), Err(Answer::Missing(_))), "{path_text}");
            assert!(path(&get(path_text), now).is_ok(), "{path_text}");
        }
        let body = page(200, "{\"$x\": 1}");
        let told = read(&range, past, &body);
        assert_eq!(told.measured("/$x", Unit::Count), Measured::Number(1.0));
        assert_eq!(told.basis().map(|basis| (basis.from, basis.to)), Some((past.from, past.to)));
        assert_eq!(read(&get("/h"), now, &body).basis(), None);
    }

    #[test]
    fn only_json_with_200_counts() {
        let now = span("10:00", "10:15", SpanEnd::Now);
        let read = |status, body: &str| read(&get("/h"), now, &page(status, body));
        assert!(failed(read(200, " \n")).contains("empty body"));
        assert!(failed(read(200, "<html>")).contains("is not JSON"));
        assert!(failed(read(200, "{\"x\": NaN}")).contains("is not JSON"));
        assert!(failed(read(200, "{\"x\": 1} y")).contains("is not JSON"));
        for status in [204, 206, 301, 401, 403, 404, 429, 500, 503] {
            assert!(failed(read(status, "{\"x\": 1}")).contains(&status.to_string()), "{status}");
        }
    }
}
