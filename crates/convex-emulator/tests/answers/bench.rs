//! A deployment without sockets, with its own time that a test moves by hand.

use std::collections::BTreeMap;

use convex_emulator::wire::{self, Request, Response};
use convex_emulator::{Deployment, DeploymentSettings, Scenario};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};

pub(crate) const ADMIN: &str = "Convex otter|admin";
pub(crate) const READER: &str = "Convex otter|reader";

pub(crate) struct Bench {
    pub(crate) deployment: Deployment,
    pub(crate) now: Timestamp,
}

impl Bench {
    pub(crate) fn new(scenario: &str) -> Self {
        let settings = DeploymentSettings {
            name: "otter".to_owned(),
            admin_key: "otter|admin".to_owned(),
            read_only_key: "otter|reader".to_owned(),
            env: BTreeMap::from([("NOTE".to_owned(), "hello".to_owned())]),
            scenario: Scenario::parse(scenario).unwrap(),
        };
        // Not at a full minute: buckets start where the process does.
        let now = "2026-08-21T10:00:17.5Z".parse().unwrap();
        Self { deployment: Deployment::new(settings, now).unwrap(), now }
    }

    pub(crate) fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    pub(crate) fn send(&mut self, request: &Request) -> Response {
        wire::handle(&mut self.deployment, self.now, request)
    }

    pub(crate) fn get(&mut self, path: &str, query: &[(&str, &str)]) -> Response {
        let mut request = Request::new("GET", path).header("Authorization", READER);
        for (name, value) in query {
            request.query.insert((*name).to_owned(), (*value).to_owned());
        }
        self.send(&request)
    }

    pub(crate) fn post(&mut self, path: &str, body: &Json) -> Response {
        self.send(&Request::new("POST", path).header("Authorization", ADMIN).json(body))
    }

    /// Sets a variable and returns what the deployment says.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>) -> Response {
        let changes = json!([{ "name": name, "value": value }]);
        self.post("/api/update_environment_variables", &json!({ "changes": changes }))
    }

    /// Logs calls of one function that ends as told.
    pub(crate) fn inject(&mut self, executions: &Json) {
        let executions = serde_json::from_value(executions.clone()).unwrap();
        self.deployment.inject_executions(self.now, &[executions]);
    }
}

pub(crate) fn json_of(response: &Response) -> Json {
    assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
    serde_json::from_slice(&response.body).unwrap()
}

#[track_caller]
pub(crate) fn check_error(response: &Response, status: u16, code: &str) {
    let body: Json = serde_json::from_slice(&response.body).unwrap_or_default();
    assert_eq!((response.status, body["code"].as_str()), (status, Some(code)), "{body}");
}
