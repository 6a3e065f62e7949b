//! One session of the sync protocol: messages in, frames out, as a pure state machine.
//!
//! Owns the versions of the query set, the identity and the time, and what each subscribed query
//! last answered. It holds no socket and no clock: the shell hands in what arrives, and calls
//! [`Session::refresh`] after the deployment has changed. Every transition starts at the version at
//! which the one before ended, and its time never goes back.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::access::{Credential, Identity};
use crate::calls::{self, Answer, Call, Endpoint, Outcome};
use crate::completion::Caller;
use crate::deployment::Deployment;
use crate::functions::{Args, FunctionKind, Thrown};
use crate::stamps::to_millis;
pub use crate::sync_messages::Frame;
use crate::sync_messages::{Message, Modification, TokenType, Version, fatal, refused, to_nanos};
use crate::value::Encoding;
use crate::wire::ApiError;

/// One session.
#[derive(Debug, Default)]
pub struct Session {
    /// What the client's clock showed less what ours did when it connected, in milliseconds.
    skew: Option<f64>,
    identity: Option<Identity>,
    version: Version,
    queries: BTreeMap<u32, Subscription>,
    /// The deployment's revision that the answers are of.
    revision: u64,
    closed: bool,
}

#[derive(Debug)]
struct Subscription {
    name: String,
    args: Result<Args, Thrown>,
    /// What was last sent; `None` before the first answer.
    sent: Option<Outcome>,
}

impl Session {
    /// Takes a text frame of the client at `now`.
    pub fn receive(
        &mut self,
        deployment: &mut Deployment,
        now: Timestamp,
        text: &str,
    ) -> Vec<Frame> {
        if self.closed {
            return Vec::new();
        }
        deployment.record_message(text);
        let result = match serde_json::from_str(text) {
            Ok(message) => self.take(deployment, now, message),
            Err(error) => Err(fatal(&format!("Received Invalid JSON on websocket: {error}"))),
        };
        self.settle(result)
    }

    /// Runs the subscribed queries again when the deployment has changed, and tells what differs.
    pub fn refresh(&mut self, deployment: &mut Deployment, now: Timestamp) -> Vec<Frame> {
        if self.closed || self.queries.is_empty() || self.revision == deployment.revision() {
            return Vec::new();
        }
        let modified = self.run_queries(deployment, now).map_err(refused);
        let result = modified.map(|modified| {
            if modified.is_empty() { Vec::new() } else { vec![self.transition(now, modified)] }
        });
        self.settle(result)
    }

    /// Whether the session has sent its close frame.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    fn settle(&mut self, result: Result<Vec<Frame>, Vec<Frame>>) -> Vec<Frame> {
        let frames = result.unwrap_or_else(|last| last);
        self.closed |= frames.iter().any(|frame| matches!(frame, Frame::Close { .. }));
        frames
    }

    fn take(
        &mut self,
        deployment: &mut Deployment,
        now: Timestamp,
        message: Message,
    ) -> Result<Vec<Frame>, Vec<Frame>> {
        if self.skew.is_none() != matches!(message, Message::Connect { .. }) {
            return Err(fatal("Connect must be the first message, and only the first"));
        }
        match message {
            Message::Connect { client_ts } => {
                let own = to_millis(now);
                self.skew = Some(client_ts.unwrap_or(own) - own);
                Ok(Vec::new())
            }
            Message::Authenticate { base_version, token_type, value } => {
                self.authenticate(deployment, now, base_version, token_type, value)
            }
            Message::ModifyQuerySet { base_version, new_version, modifications } => {
                if base_version != self.version.query_set {
                    return Err(fatal("Base version does not match the current query set"));
                }
                self.modify(deployment, now, new_version, modifications)
            }
            Message::Mutation { request_id, udf_path, args } => {
                let what = (FunctionKind::Mutation, request_id);
                self.call(deployment, now, what, &udf_path, &args)
            }
            Message::Action { request_id, udf_path, args } => {
                let what = (FunctionKind::Action, request_id);
                self.call(deployment, now, what, &udf_path, &args)
            }
            Message::Event {} => Ok(Vec::new()),
        }
    }

    fn authenticate(
        &mut self,
        deployment: &mut Deployment,
        now: Timestamp,
        base_version: u32,
        token_type: TokenType,
        value: Option<String>,
    ) -> Result<Vec<Frame>, Vec<Frame>> {
        if base_version != self.version.identity {
            return Err(fatal("Base version does not match the current identity"));
        }
        let credential = match token_type {
            TokenType::Admin => Credential::Key(value.unwrap_or_default()),
            TokenType::User => Credential::User,
            TokenType::None => Credential::Absent,
        };
        let identity = deployment.keys().identify(&credential).map_err(|error| {
            let body = json!({
                "type": "AuthError",
                "error": error.message,
                "baseVersion": base_version,
                "authUpdateAttempted": true,
            });
            vec![Frame::Text(body.to_string()), Frame::Close { code: None, reason: String::new() }]
        })?;
        self.identity = Some(identity);
        let start = self.version;
        self.version.identity += 1;
        let modified = self.run_queries(deployment, now).map_err(refused)?;
        Ok(vec![self.transition_from(start, now, modified)])
    }

    fn modify(
        &mut self,
        deployment: &mut Deployment,
        now: Timestamp,
        new_version: u32,
        modifications: Vec<Modification>,
    ) -> Result<Vec<Frame>, Vec<Frame>> {
        let mut removed = Vec::new();
        for modification in modifications {
            match modification {
                Modification::Add { query_id, udf_path, args } => {
                    let name = calls::canonical_name(&udf_path).map_err(refused)?;
                    let args = calls::read_args(&args).map_err(refused)?;
                    let subscription = Subscription { name, args, sent: None };
                    if self.queries.insert(query_id, subscription).is_some() {
                        return Err(fatal(&format!("Duplicate query id: {query_id}")));
                    }
                }
                Modification::Remove { query_id } => {
                    if self.queries.remove(&query_id).is_none() {
                        return Err(fatal(&format!("Nonexistent query id: {query_id}")));
                    }
                    removed.push(json!({ "type": "QueryRemoved", "queryId": query_id }));
                }
            }
        }
        let start = self.version;
        self.version.query_set = new_version;
        let wanted = |query: &Subscription| query.sent.is_none();
        removed.extend(self.run_some(deployment, now, wanted).map_err(refused)?);
        Ok(vec![self.transition_from(start, now, removed)])
    }

    /// Runs a mutation or an action for the session.
    fn call(
        &mut self,
        deployment: &mut Deployment,
        now: Timestamp,
        (kind, id): (FunctionKind, u32),
        path: &str,
        args: &Json,
    ) -> Result<Vec<Frame>, Vec<Frame>> {
        let name = calls::canonical_name(path).map_err(refused)?;
        let args = calls::read_args(args).map_err(refused)?;
        let (answer, request_id) =
            self.run(deployment, now, kind, &name, &args).map_err(refused)?;
        let kind = if kind == FunctionKind::Action { "ActionResponse" } else { "MutationResponse" };
        let mut body = json!({ "type": kind, "requestId": id, "logLines": answer.log_lines });
        match answer.outcome {
            Outcome::Value(value) => {
                body["success"] = json!(true);
                body["result"] = value.encode(Encoding::Exact);
                body["ts"] = json!(BASE64.encode(self.ts_at(now).to_le_bytes()));
            }
            Outcome::Failed(text, thrown) => {
                body["success"] = json!(false);
                body["result"] = json!(deployment.error_message(&request_id, &text));
                if let Some(thrown) = thrown {
                    body["errorData"] = thrown.encode(Encoding::Exact);
                }
            }
        }
        let modified = self.run_queries(deployment, now).map_err(refused)?;
        // A client counts a mutation as done once a transition has reached its time.
        Ok(vec![Frame::Text(body.to_string()), self.transition(now, modified)])
    }

    fn run_queries(
        &mut self,
        deployment: &mut Deployment,
        now: Timestamp,
    ) -> Result<Vec<Json>, ApiError> {
        self.run_some(deployment, now, |_| true)
    }

    /// Runs the wanted queries and returns a modification for each answer that differs.
    fn run_some(
        &mut self,
        deployment: &mut Deployment,
        now: Timestamp,
        wanted: impl Fn(&Subscription) -> bool,
    ) -> Result<Vec<Json>, ApiError> {
        self.revision = deployment.revision();
        let mut queries = std::mem::take(&mut self.queries);
        let mut modified = Vec::new();
        for (id, query) in queries.iter_mut().filter(|(_, query)| wanted(query)) {
            let ran = self.run(deployment, now, FunctionKind::Query, &query.name, &query.args);
            let (answer, request_id) = ran?;
            if query.sent.as_ref() != Some(&answer.outcome) {
                modified.push(modification(deployment, *id, &answer, &request_id));
                query.sent = Some(answer.outcome);
            }
        }
        self.queries = queries;
        Ok(modified)
    }

    fn run(
        &self,
        deployment: &mut Deployment,
        now: Timestamp,
        kind: FunctionKind,
        name: &str,
        args: &Result<Args, Thrown>,
    ) -> Result<(Answer, String), ApiError> {
        let request_id = deployment.next_request_id();
        let call = Call {
            endpoint: Endpoint::Typed(kind),
            identity: self.identity.unwrap_or(Identity::Anyone),
            name,
            args,
            caller: Caller::SyncWorker,
            request_id: &request_id,
        };
        let answer = calls::execute(deployment, now, &call)?;
        Ok((answer, request_id))
    }

    fn transition(&mut self, now: Timestamp, modified: Vec<Json>) -> Frame {
        self.transition_from(self.version, now, modified)
    }

    fn transition_from(&mut self, start: Version, now: Timestamp, modified: Vec<Json>) -> Frame {
        self.version.ts = self.ts_at(now);
        let body = json!({
            "type": "Transition",
            "startVersion": start.to_json(),
            "endVersion": self.version.to_json(),
            "modifications": modified,
            "clientClockSkew": self.skew.unwrap_or_default(),
            "serverTs": to_nanos(now),
        });
        Frame::Text(body.to_string())
    }

    /// The time of a transition at `now`; the clock may go back, this does not.
    fn ts_at(&self, now: Timestamp) -> u64 {
        self.version.ts.max(to_nanos(now))
    }
}

fn modification(deployment: &Deployment, query_id: u32, answer: &Answer, request_id: &str) -> Json {
    match &answer.outcome {
        Outcome::Value(value) => json!({
            "type": "QueryUpdated",
            "queryId": query_id,
            "value": value.encode(Encoding::Exact),
            "logLines": answer.log_lines,
            "journal": null,
        }),
        Outcome::Failed(text, thrown) => {
            let mut body = json!({
                "type": "QueryFailed",
                "queryId": query_id,
                "errorMessage": deployment.error_message(request_id, text),
                "logLines": answer.log_lines,
                "journal": null,
            });
            if let Some(thrown) = thrown {
                body["errorData"] = thrown.encode(Encoding::Exact);
            }
            body
        }
    }
}
