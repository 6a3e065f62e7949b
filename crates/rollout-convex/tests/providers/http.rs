//! The source `http` against a small web server.

use std::sync::Arc;
use std::time::Duration;

use rollout_convex::{Answer, Endpoint, EndpointCredential, EndpointTarget, ask_all};
use rollout_core::{HttpGet, Measured, Source, Unit};

use crate::server::{Reply, Server, nowhere, reply};
use crate::suite::{self, BREACH, Case, PASS, Provider, SECRET, TIMEOUT, Taken, WARN};

/// A health document with a credential before it.
struct Http {
    server: Server,
    endpoint: Endpoint,
}

impl Http {
    async fn start() -> Self {
        let server = Server::start().await;
        let endpoint = endpoint(&server.url, SECRET, TIMEOUT);
        Self { server, endpoint }
    }
}

impl Provider for Http {
    const NAME: &'static str = "http";
    const IMPOSSIBLE: &'static [(Case, &'static str)] = &[];

    async fn take(&mut self, case: Case) -> Taken {
        let asked = match case {
            Case::PastUnknown => get("/health"),
            _ => get("/health?from=$from&to=$to"),
        };
        self.server.answer(move |request| {
            let authorized = request.lines().any(|line| line == authorization(SECRET));
            if authorized { answer(case, request) } else { reply(401, request) }
        });
        let other = match case {
            Case::NoConnection => Some(endpoint(&nowhere().await, SECRET, TIMEOUT)),
            Case::WrongCredential => Some(endpoint(&self.server.url, "hunter2hunter3", TIMEOUT)),
            _ => None,
        };
        let answer = other.as_ref().unwrap_or(&self.endpoint).ask(&asked, suite::span(case)).await;
        Taken {
            measured: answer.measured("/errorRate", Unit::Percent),
            requests: Some(self.server.requests()),
        }
    }
}

fn answer(case: Case, request: &str) -> Reply {
    let value = |value: f64| reply(200, &format!("{{\"errorRate\": {value}}}"));
    match case {
        Case::Warn => value(WARN),
        Case::Breach => value(BREACH),
        Case::Empty => reply(200, "{\"errorRate\": null}"),
        Case::NotANumber => reply(200, "{\"errorRate\": NaN}"),
        Case::Infinite => reply(200, "{\"errorRate\": 1e999}"),
        // Its status says that it failed, however well it looks.
        Case::Error => reply(503, &format!("{{\"errorRate\": {PASS}}}")),
        Case::Slow => Reply::Silence,
        Case::Huge => Reply::Endless,
        Case::Garbage => reply(200, "<html>Sign in</html>"),
        Case::Past => {
            let span = suite::past();
            let (from, to) = (span.from.as_millisecond(), span.to.as_millisecond());
            let is_past = request.starts_with(&format!("GET /health?from={from}&to={to} "));
            value(if is_past { BREACH } else { PASS })
        }
        Case::Pass | Case::PastUnknown | Case::NoConnection | Case::WrongCredential => value(PASS),
    }
}

fn authorization(token: &str) -> String {
    format!("authorization: Bearer {token}")
}

fn endpoint(url: &str, token: &str, timeout: Duration) -> Endpoint {
    Endpoint::connect(EndpointTarget {
        name: "page".into(),
        url: url.into(),
        credential: Some(EndpointCredential::Bearer(token.into())),
        timeout,
    })
    .unwrap()
}

fn get(path: &str) -> Source {
    Source::Http(HttpGet { endpoint: "page".into(), path: path.into() })
}

fn failed(answer: Answer) -> String {
    match answer {
        Answer::Failed(words) => words,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn http_passes_the_suite() {
    suite::run(&mut Http::start().await).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_takes_the_credential_nowhere() {
    let there = Server::start().await;
    there.answer(|_| reply(200, "{\"errorRate\": 0}"));
    let Http { server, endpoint } = Http::start().await;
    let location = format!("location: {}/health\r\n", there.url);
    server.answer(move |_| Reply::Whole(302, location.clone(), String::new()));
    let words = failed(endpoint.ask(&get("/health"), suite::present()).await);
    assert!(words.contains("somewhere else (302)"), "{words}");
    assert_eq!((server.requests(), there.requests()), (1, 0));
}

#[tokio::test]
async fn an_endpoint_that_echoes_what_it_is_sent_shows_no_credential() {
    let Http { server, endpoint } = Http::start().await;
    server.answer(|request| {
        let token = request.lines().find_map(|line| line.strip_prefix("authorization: "));
        reply(200, &format!("{{\"said\": {:?}}}", token.unwrap_or_default()))
    });
    let told = endpoint.ask(&get("/health"), suite::present()).await;
    let said = Measured::Text("Bearer [key]".into());
    assert_eq!(told.measured("/said", Unit::Text), said);
}

#[tokio::test]
async fn a_path_stays_below_the_endpoint() {
    let server = Server::start().await;
    server.answer(|request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        reply(200, &format!("{{\"path\": {path:?}}}"))
    });
    let endpoint = endpoint(&format!("{}/status/v1/", server.url), SECRET, TIMEOUT);
    let asked = |path: &'static str| {
        let endpoint = &endpoint;
        async move { endpoint.ask(&get(path), suite::present()).await }
    };
    let told = asked("/health?full=1&x=a b").await;
    let path = Measured::Text("/status/v1/health?full=1&x=a%20b".into());
    assert_eq!(told.measured("/path", Unit::Text), path);
    for path in ["health", "/../secret", "/%2e%2e/secret", "/a#b", "@example.com/", ""] {
        let words = failed(asked(path).await);
        assert!(words.contains("is no path below endpoint page"), "{path:?}: {words}");
    }
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn equal_questions_of_one_reading_are_asked_once() {
    let Http { server, endpoint } = Http::start().await;
    server.answer(|request| {
        reply(200, &format!("{{\"errorRate\": {}}}", request.contains("/b") as u8))
    });
    let endpoint = Arc::new(endpoint);
    let find = |name: &str| match name {
        "page" => Ok(endpoint.clone()),
        other => Err(format!("there is no endpoint {other}")),
    };
    let (a, b, now) = (get("/a"), get("/b?t=$to"), suite::present());
    let unknown = Source::Http(HttpGet { endpoint: "nope".into(), path: "/a".into() });
    let asks = [(&a, now), (&b, now), (&unknown, now), (&a, now), (&b, suite::past())];
    let answers = ask_all(&asks, find).await;
    let measured: Vec<_> =
        answers.iter().map(|answer| answer.measured("/errorRate", Unit::Count)).collect();
    let number = Measured::Number;
    assert_eq!(
        [&measured[0], &measured[1], &measured[3]],
        [&number(0.0), &number(1.0), &number(0.0)]
    );
    assert_eq!(measured[2], Measured::Failed("there is no endpoint nope".into()));
    assert!(matches!(measured[4], Measured::Missing(_)), "{:?}", measured[4]);
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn the_control_query_says_what_it_found() {
    let Http { server, endpoint } = Http::start().await;
    server.answer(|_| reply(200, "{\"errorRate\": 0}"));
    let found = endpoint.control(&get("/health?t=$to"), suite::moment("10:00")).await;
    assert_eq!(found, Ok("answers with an object".into()));
    assert_eq!(endpoint.reach().await, Ok("answers (200)".into()));
    server.answer(|_| reply(403, "{}"));
    assert!(endpoint.reach().await.unwrap_err().contains("refused the request (403)"));
    let found = endpoint.control(&get("/health"), suite::moment("10:00")).await.unwrap_err();
    assert!(found.contains("put a valid credential into its file"), "{found}");
}
