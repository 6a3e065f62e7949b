//! Owns questions about the stream of executions: one is open at each deployment that is followed, and waits there
//! until something ran.

#![expect(clippy::wildcard_enum_match_arm, reason = "each branch is about a few of many fates")]

use convex_emulator::{delivery, streams};
use jiff::SignedDuration;
use rollout_convex::TransportError;

use crate::net::{Fate, InFlight};
use crate::world::{Happening, World};

impl InFlight {
    /// True for a question about the stream of executions, which is open all the time.
    pub(crate) fn is_poll(&self) -> bool {
        self.request.path.contains("stream_udf_execution")
    }
}

impl World {
    /// A question about the stream reaches its deployment, or has waited there: it is answered once there is
    /// something to tell, and after a minute in any case.
    pub(crate) fn poll_lands(&mut self, number: u64, mut flight: InFlight) {
        let now = self.now;
        let Some(deployment) = self.deployments.get_mut(&flight.deployment) else { return };
        if flight.response.is_some() {
            // Answered already; it was to be asked again by then.
            self.requests.insert(number, flight);
            return;
        }
        let is_new = flight.held_until.is_none();
        let until = *flight.held_until.get_or_insert(now + HELD);
        if now < until && streams::waits(deployment, now, &flight.request) {
            if is_new {
                self.schedule(until, Happening::Lands(number));
            }
            self.requests.insert(number, flight);
            return;
        }
        let answered = delivery::finish(deployment, now, &flight.request);
        self.note(|| format!("the stream told {} bytes", answered.body.len()));
        self.digest.add(&answered.body);
        self.send_back(number, flight, answered.status, answered.body);
    }

    /// Questions about the stream that wait at a deployment are looked at again: something ran there.
    pub(crate) fn wake_polls(&mut self, deployment: &str) {
        let now = self.now;
        let waits = |flight: &InFlight| {
            flight.deployment == deployment
                && flight.held_until.is_some()
                && flight.response.is_none()
        };
        let waiting = self.requests.iter().filter(|(_, flight)| waits(flight));
        let waiting: Vec<u64> = waiting.map(|(number, _)| *number).collect();
        for number in waiting {
            self.schedule(now, Happening::Lands(number));
        }
    }

    /// A deployment's process ends: whatever asked about its stream is cut off.
    pub(crate) fn cut_polls(&mut self, deployment: &str) {
        let cut = self
            .requests
            .extract_if(.., |_, flight| flight.deployment == deployment && flight.is_poll());
        for reply in cut.filter_map(|(_, flight)| flight.reply) {
            // The process that asked may have died since.
            drop(reply.send(Err(TransportError::Lost { cause: "connection reset".into() })));
        }
    }

    /// Remembers until when a deployment's answers may be other than they should be.
    pub(crate) fn note_fault(&mut self, deployment: &str, fate: &Fate) {
        let lasts = match fate {
            Fate::Answered => return,
            Fate::AnsweredLate(late) | Fate::LandsLate(late) => *late,
            _ => SignedDuration::ZERO,
        };
        let until = self.now + lasts;
        self.observer.book(deployment).note_fault(until);
    }
}

/// How long a deployment holds a question about its stream while there is nothing to tell (wire contract, section 7.2).
const HELD: SignedDuration = SignedDuration::from_secs(60);
