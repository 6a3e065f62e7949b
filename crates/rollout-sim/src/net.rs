//! Owns the network between engine and deployments: what becomes of a request, when it lands, and when it is answered.
//!
//! The adapter's own encoding and the emulator's own core are at both ends; only the sockets are missing. Requests that are
//! on the wire land even when the process that sent them has died.

#![expect(clippy::wildcard_enum_match_arm, reason = "each branch is about a few of many fates")]

use std::collections::BTreeMap;
use std::time::Duration;

use convex_emulator::delivery;
use jiff::{SignedDuration, Timestamp};
use rollout_convex::TransportError;
use rollout_convex::wire::{Method, Request, Response};
use tokio::sync::oneshot;

use crate::dice::Dice;
use crate::plans::{CREATE, HEALTH};
use crate::world::{Happening, World, request_rollout};

/// The adapter's patience with one request.
const TIMEOUT: SignedDuration = SignedDuration::from_secs(20);
/// For how long a deployment may sit on a request (wire contract, section 1.1).
const LANDS_LATE_SECS: i64 = 290;

/// What is in the body of a write that turns a flag on.
const ON: &[u8] = br#""value":"true""#;

/// What becomes of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is answered.
    Answered,
    /// It is answered so late that the adapter may have given up.
    AnsweredLate(SignedDuration),
    /// No connection; it never leaves.
    Refused,
    /// It is lost on its way.
    LostBefore,
    /// It lands, and its answer is lost.
    LostAfter,
    /// The adapter gives up; it lands later all the same.
    LandsLate(SignedDuration),
    /// Something before the deployment answers in its place; it never lands.
    Proxy(u16),
    /// It lands, and something on the way spoils the answer.
    ProxyAfter(u16),
    /// It lands; the answer is cut to pieces.
    Garbled,
    /// The key is refused.
    BadKey,
}

/// One request on its way.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) deployment: String,
    pub(crate) request: convex_emulator::wire::Request,
    pub(crate) fate: Fate,
    pub(crate) reply: Option<oneshot::Sender<Result<Response, TransportError>>>,
    /// What is to be answered, once it landed.
    pub(crate) response: Option<Response>,
    /// What it showed, once it landed.
    shown: Option<Shown>,
    /// What it wrote, once it landed, with the times.
    wrote: BTreeMap<String, Timestamp>,
    /// Until when the deployment waits for something to tell.
    pub(crate) held_until: Option<Timestamp>,
}

/// What an answer truly says, taken from the deployment and not from the bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shown {
    /// All variables.
    Variables(BTreeMap<String, String>),
    /// All variables, each with the time of its last write.
    Rows(BTreeMap<String, (String, Timestamp)>),
    /// The last push of code.
    Push(Timestamp),
    /// The fields of the health function.
    Health(BTreeMap<String, convex_emulator::value::Value>),
}

/// The key of a simulated deployment.
pub(crate) fn key_of(deployment: &str) -> String {
    format!("{deployment}|010123456789abcdef")
}

impl World {
    /// Takes a request over from the adapter and decides what becomes of it.
    pub(crate) fn send(
        &mut self,
        deployment: &str,
        request: Request,
    ) -> oneshot::Receiver<Result<Response, TransportError>> {
        let (reply, answer) = oneshot::channel();
        let now = self.now;
        let fate = self.fate_of(deployment);
        let travel = self.travel();
        let number = self.next_number();
        self.note(|| format!("{deployment} <- {} ({fate:?})", what(&request)));
        let patience = request.held.and_then(|held| SignedDuration::try_from(held).ok());
        let patience = patience.unwrap_or(TIMEOUT);
        self.note_fault(deployment, &fate);
        let request = as_received(deployment, request);
        let enables = request.body.windows(ON.len()).any(|part| part == ON);
        if matches!(fate, Fate::LandsLate(_))
            && enables
            && self.dice.chance(self.script.trouble.regrets)
            && let Some(id) = request_rollout(&request)
        {
            let at = now + self.dice.millis(0, 100_000);
            self.schedule(at, Happening::Regrets(id));
        }
        let (lands, gives_up) = match &fate {
            Fate::Refused => (None, Some(now + travel)),
            Fate::LostBefore | Fate::Proxy(_) | Fate::BadKey => (None, Some(now + travel)),
            Fate::LandsLate(late) => (Some(now + *late), Some(now + patience)),
            Fate::AnsweredLate(_) => (Some(now + travel), Some(now + patience)),
            Fate::Answered | Fate::LostAfter | Fate::ProxyAfter(_) | Fate::Garbled => {
                (Some(now + travel), None)
            }
        };
        if let Some(at) = lands {
            self.schedule(at, Happening::Lands(number));
        }
        if let Some(at) = gives_up {
            self.schedule(at, Happening::GivesUp(number));
        }
        let deployment = deployment.to_owned();
        let (reply, response, shown) = (Some(reply), None, None);
        let (wrote, held_until) = (BTreeMap::new(), None);
        let request =
            InFlight { deployment, request, fate, reply, response, shown, wrote, held_until };
        self.requests.insert(number, request);
        answer
    }

    /// A request reaches its deployment. True when it was a write that changed something.
    pub(crate) fn lands(&mut self, number: u64) -> bool {
        let now = self.now;
        let Some(mut flight) = self.requests.remove(&number) else { return false };
        if flight.is_poll() {
            self.poll_lands(number, flight);
            return false;
        }
        self.before_landing(&flight.deployment, &flight.request);
        let Some(deployment) = self.deployments.get_mut(&flight.deployment) else { return false };
        let before = deployment.env().to_map();
        let writes = flight.request.path.contains("update_environment_variables");
        let rows_before = if writes { rows_of(deployment) } else { BTreeMap::new() };
        let at = asked_about(&flight.request).map_or(now, |to| to.min(now));
        let answered = delivery::finish(deployment, now, &flight.request);
        let after = deployment.env().to_map();
        let changed = before != after;
        self.observer.note_log(&flight.deployment, now, deployment.activity().log().pushed());
        let health = || Shown::Health(deployment.health(at).fields);
        flight.shown = match flight.request.path.as_str() {
            _ if !answers(&answered) => None,
            path if path.contains("list_environment") => Some(Shown::Variables(after.clone())),
            _ if calls(&flight.request, "queryEnvironmentVariables") => {
                Some(Shown::Rows(rows_of(deployment)))
            }
            _ if calls(&flight.request, "lastPushEvent") => {
                Some(Shown::Push(moment_of(deployment.last_push().creation_time)))
            }
            "/api/function" if calls(&flight.request, HEALTH) => Some(health()),
            _ => None,
        };
        if writes {
            let mut rows = rows_of(deployment);
            rows.retain(|name, row| rows_before.get(name) != Some(row));
            flight.wrote = rows.into_iter().map(|(name, (_, at))| (name, at)).collect();
        }
        self.note(|| format!("{} landed, answered {}", flight.request.path, answered.status));
        self.digest.add(&answered.body);
        self.digest.add(flight.request.path.as_bytes());
        if changed {
            self.env_changed(&flight.deployment, &before, &after, Some(&flight.request));
        }
        self.send_back(number, flight, answered.status, answered.body);
        changed
    }

    /// What the deployment says goes on its way, at once or late.
    pub(crate) fn send_back(
        &mut self,
        number: u64,
        mut flight: InFlight,
        status: u16,
        body: Vec<u8>,
    ) {
        flight.response = Some(Response { status, body, date: None });
        match flight.fate {
            Fate::AnsweredLate(late) => {
                self.schedule(self.now + late, Happening::Arrives(number));
                self.requests.insert(number, flight);
            }
            _ => self.answer(flight),
        }
    }

    /// An answer that took its time arrives.
    pub(crate) fn arrives(&mut self, number: u64) {
        if let Some(flight) = self.requests.remove(&number) {
            self.answer(flight);
        }
    }

    /// The adapter learns that there is no answer, or the wrong one.
    pub(crate) fn gives_up(&mut self, number: u64) {
        let Some(flight) = self.requests.get_mut(&number) else { return };
        let Some(reply) = flight.reply.take() else { return };
        let lost = |cause: &str| Err(TransportError::Lost { cause: cause.into() });
        let ends = match flight.fate {
            Fate::Refused => Err(TransportError::NotSent { cause: "connection refused".into() }),
            Fate::Proxy(status) => Ok(proxy(status)),
            Fate::BadKey => {
                let body = br#"{"code":"BadAdminKey","message":"no"}"#.to_vec();
                Ok(Response { status: 401, body, date: None })
            }
            Fate::LandsLate(_) | Fate::AnsweredLate(_) => {
                Err(TransportError::TimedOut { after: Duration::from_secs(20) })
            }
            _ => lost("connection reset"),
        };
        // The process may have died since.
        drop(reply.send(ends));
        if !matches!(flight.fate, Fate::LandsLate(_) | Fate::AnsweredLate(_)) {
            self.requests.remove(&number);
        }
    }

    pub(crate) fn answer(&mut self, flight: InFlight) {
        let InFlight { request, fate, reply, response, shown, wrote, .. } = flight;
        let (Some(reply), Some(response)) = (reply, response) else { return };
        let answer = match fate {
            Fate::LostAfter | Fate::LandsLate(_) => {
                Err(TransportError::Lost { cause: "connection reset".into() })
            }
            Fate::ProxyAfter(status) => Ok(proxy(status)),
            Fate::Garbled => {
                let half = response.body.len() / 2;
                Ok(Response { body: response.body[..half].to_vec(), ..response })
            }
            _ => Ok(response),
        };
        let understood = matches!(fate, Fate::Answered | Fate::AnsweredLate(_)) && answer.is_ok();
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        if reply.send(answer).is_err() || !understood {
            return;
        }
        if let Some(shown) = shown {
            self.was_shown(&request, shown, status);
        }
        if let Some(by) = request_rollout(&request) {
            self.observer.wrote(by, wrote);
        }
    }

    fn fate_of(&mut self, deployment: &str) -> Fate {
        if !self.is_troubled() {
            return Fate::Answered;
        }
        if let Some((until, fate)) = self.outages.get(deployment)
            && *until > self.now
        {
            return fate.clone();
        }
        let percent = self.script.trouble.requests;
        match self.net.chance(percent) {
            true => draw_fate(&mut self.net),
            false => Fate::Answered,
        }
    }

    fn travel(&mut self) -> SignedDuration {
        match self.is_steady() {
            true => SignedDuration::from_millis(50),
            false => self.net.millis(5, 400),
        }
    }
}

/// Something that can go wrong with a request.
pub(crate) fn draw_fate(dice: &mut Dice) -> Fate {
    match dice.number(0, 11) {
        0 | 1 => Fate::Refused,
        2 => Fate::LostBefore,
        3 | 4 => Fate::LostAfter,
        5 => Fate::AnsweredLate(dice.millis(500, 19_000)),
        6 => Fate::AnsweredLate(dice.millis(19_000, 290_000)),
        7 => {
            let late = SignedDuration::from_secs(dice.number(21, LANDS_LATE_SECS));
            Fate::LandsLate(late)
        }
        8 => Fate::Proxy(dice.pick(&[429, 500, 502, 503, 504, 408, 404])),
        9 => Fate::ProxyAfter(dice.pick(&[500, 502, 504])),
        _ => Fate::Garbled,
    }
}

/// A proxy's page.
fn proxy(status: u16) -> Response {
    let body = format!("<html><h1>{status}</h1></html>").into_bytes();
    Response { status, body, date: None }
}

fn as_received(deployment: &str, request: Request) -> convex_emulator::wire::Request {
    let method = match request.method {
        Method::Get => "GET",
        Method::Post => "POST",
    };
    let headers = request.headers.into_iter().map(|(name, value)| (name.to_owned(), value));
    let mut headers: BTreeMap<_, _> = headers.collect();
    headers.insert("authorization".into(), format!("Convex {}", key_of(deployment)));
    convex_emulator::wire::Request {
        method: method.into(),
        path: request.path.into(),
        query: decoded(&request.query),
        headers,
        body: request.body.into_bytes(),
    }
}

/// The parameters of a query string, which the adapter wrote percent-encoded.
fn decoded(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (unescaped(name), unescaped(value))).collect()
}

fn unescaped(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        bytes.push(u8::from_str_radix(code, 16).unwrap_or(b'?'));
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn what(request: &Request) -> String {
    let key = request.headers.iter().find(|(name, _)| *name == "convex-request-id");
    let key = key.map_or("-", |(_, key)| key.as_str());
    format!("{} {}{} {}", request.path, request.query, request.body, key)
}

/// The end of the range of time that a health function is asked about.
fn asked_about(request: &convex_emulator::wire::Request) -> Option<Timestamp> {
    if !calls(request, HEALTH) {
        return None;
    }
    let body: serde_json::Value = serde_json::from_slice(&request.body).ok()?;
    Timestamp::from_millisecond(body.get("args")?.get("to")?.as_i64()?).ok()
}

/// All variables of a deployment with the times of their last writes.
fn rows_of(deployment: &convex_emulator::Deployment) -> BTreeMap<String, (String, Timestamp)> {
    let rows = deployment.env().rows().map(|(name, row)| {
        (name.to_owned(), (row.value.clone(), moment_of(row.stamp.creation_time)))
    });
    rows.collect()
}

/// A time of the deployment's, to the microsecond.
fn moment_of(ms: f64) -> Timestamp {
    Timestamp::from_microsecond((ms * 1_000.0).round() as i64).unwrap_or(Timestamp::MAX)
}

/// True when the deployment answered with a value, and not with what a function threw.
fn answers(response: &convex_emulator::wire::Response) -> bool {
    let thrown = br#""status":"error""#;
    response.status == 200 && !response.body.windows(thrown.len()).any(|part| part == thrown)
}

/// True when a request calls the function at `path`.
pub(crate) fn calls(request: &convex_emulator::wire::Request, path: &str) -> bool {
    String::from_utf8_lossy(&request.body).contains(path)
}

/// True when a request creates what the smoke test waits for.
pub(crate) fn creates(request: &convex_emulator::wire::Request) -> bool {
    request.path == "/api/function" && calls(request, CREATE)
}
