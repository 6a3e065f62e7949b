//! Owns orders: every verb that changes a rollout, each with its reason.

use rollout_api::client::ClientError;
use rollout_api::{
    Answer, Exit, OrderRequest, OrderResponse, OrderScope, OrderVerb, RolloutDetail,
};

use super::Session;
use crate::cli::{Check, Command, Format, IncidentVerb, Order, PhaseOrder};
use crate::failure::Failure;
use crate::render::status::line;

/// An order as it is sent.
struct Sent {
    id: String,
    verb: OrderVerb,
    request: OrderRequest,
}

impl Sent {
    fn plain(order: Order, verb: OrderVerb) -> Self {
        let request = OrderRequest { reason: order.reason, ..OrderRequest::default() };
        Self { id: order.id.to_string(), verb, request }
    }

    fn of_phase(order: Order, phase: Option<u8>, verb: OrderVerb) -> Self {
        let plain = Self::plain(order, verb);
        Self { request: OrderRequest { phase, ..plain.request }, ..plain }
    }

    fn of_check(check: &Check, phase: Option<u8>) -> Self {
        let request = OrderRequest {
            reason: check.order.reason.clone(),
            item: Some(check.item.clone()),
            phase,
            ..OrderRequest::default()
        };
        Self { id: check.order.id.to_string(), verb: OrderVerb::Check, request }
    }

    fn from_command(command: Command) -> Self {
        match command {
            Command::Approve(PhaseOrder { order, phase }) => {
                Self::of_phase(order, phase, OrderVerb::Approve)
            }
            Command::Skip { order, phase } => Self::of_phase(order, Some(phase), OrderVerb::Skip),
            Command::Hold(order) => Self::plain(order, OrderVerb::Hold),
            Command::Resume(order) => Self::plain(order, OrderVerb::Resume),
            Command::Promote(order) => Self::plain(order, OrderVerb::Promote),
            Command::Retry(order) => Self::plain(order, OrderVerb::Retry),
            Command::Abort(order) => Self::plain(order, OrderVerb::Abort),
            Command::Rollback { order, all } => {
                let scope = if all { OrderScope::All } else { OrderScope::Latest };
                let plain = Self::plain(order, OrderVerb::Rollback);
                Self { request: OrderRequest { scope: Some(scope), ..plain.request }, ..plain }
            }
            Command::Incident(IncidentVerb::Resolve { order, number }) => {
                let plain = Self::plain(order, OrderVerb::Resolve);
                Self { request: OrderRequest { incident: Some(number), ..plain.request }, ..plain }
            }
        }
    }
}

impl Session<'_, '_> {
    pub(super) async fn order(mut self, command: Command) -> Result<Exit, Failure> {
        self.send(&Sent::from_command(command)).await?;
        Ok(Exit::Done)
    }

    pub(super) async fn check(mut self, check: Check) -> Result<Exit, Failure> {
        if !check.all_phases {
            self.send(&Sent::of_check(&check, check.phase)).await?;
            return Ok(Exit::Done);
        }
        let rollout = self.client.get(&check.order.id.to_string()).await?;
        let phases = phases_that_need(&rollout, &check.item);
        if phases.is_empty() {
            self.io.say(&format!("nothing to do: no phase waits for `{}`", check.item));
            return Ok(Exit::Done);
        }
        let (mut refused, mut last) = (Vec::new(), None);
        for phase in &phases {
            match self.ask(&Sent::of_check(&check, Some(*phase))).await {
                Ok(answer) => last = Some(answer.rollout),
                Err(failure @ Failure::Client(ClientError::Problem(_))) => {
                    self.io.say(&format!("phase {phase} was not ticked:"));
                    failure.report(self.format, self.io);
                    refused.push(failure.exit());
                }
                // Without a daemon the other phases need not be tried.
                Err(failure) => return Err(failure),
            }
        }
        // How it is then, once and not once a phase. Programs have it in each answer.
        if let Some(rollout) = last.filter(|_| self.format == Format::Text) {
            self.io.print_line(&line(&rollout))?;
        }
        match refused.first() {
            None => Ok(Exit::Done),
            Some(exit) if refused.len() == phases.len() => Ok(*exit),
            Some(_) => Ok(Exit::Partial),
        }
    }

    async fn send(&mut self, sent: &Sent) -> Result<(), Failure> {
        let answer = self.ask(sent).await?;
        match self.format {
            Format::Text => Ok(self.io.print_line(&line(&answer.rollout))?),
            Format::Json => Ok(()),
        }
    }

    /// Sends an order. What it made happen is talk; the rollout afterwards is data, and for the caller to print as text.
    async fn ask(&mut self, sent: &Sent) -> Result<OrderResponse, Failure> {
        let answer = self.client.order(&sent.id, sent.verb, &sent.request).await?;
        match (self.format, answer.answer) {
            (Format::Json, _) => self.io.print_json(&answer)?,
            (Format::Text, Answer::Accepted) => {
                answer.events.iter().for_each(|entry| self.io.say(&entry.text));
            }
            (Format::Text, Answer::Already) => self.io.say("nothing to do: it is so already"),
        }
        if let (Format::Text, Some(notice)) = (self.format, &answer.notice) {
            self.io.say(notice);
        }
        Ok(answer)
    }
}

/// The phases in which a person must still tick this item.
fn phases_that_need(rollout: &RolloutDetail, item: &str) -> Vec<u8> {
    let open = |phase: &&rollout_api::PhaseView| {
        let is_over = matches!(phase.stage.as_str(), "completed" | "skipped");
        let waits =
            |known: &rollout_api::ItemView| known.name == item && !known.done && !known.by_machine;
        !is_over && phase.items.iter().any(waits)
    };
    rollout.phases.iter().filter(open).map(|phase| phase.number).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Verb};
    use crate::render::samples;

    fn sent(line: &str) -> (String, String) {
        // `@` stands for a blank inside of an argument.
        let args = line.split(' ').map(|arg| arg.replace('@', " "));
        let verb = Cli::try_parse_from(args).unwrap().verb;
        let sent = if let Verb::Check(check) = verb {
            Sent::of_check(&check, check.phase)
        } else {
            let Verb::Order(command) = verb else { panic!("{line} is no order") };
            Sent::from_command(command)
        };
        (format!("{}/{}", sent.id, sent.verb.path()), serde_json::to_string(&sent.request).unwrap())
    }

    #[test]
    fn every_order_is_sent_as_it_was_meant() {
        for (line, path, body) in [
            ("x hold r1 --reason look@here", "r1/hold", r#"{"reason":"look here"}"#),
            ("x resume r1 --reason y", "r1/resume", r#"{"reason":"y"}"#),
            ("x promote r1 --reason y", "r1/promote", r#"{"reason":"y"}"#),
            ("x retry r1 --reason y", "r1/retry", r#"{"reason":"y"}"#),
            ("x abort r1 --reason y", "r1/abort", r#"{"reason":"y"}"#),
            ("x approve r1 --reason y", "r1/approve", r#"{"reason":"y"}"#),
            ("x approve r1 --phase 5 --reason y", "r1/approve", r#"{"reason":"y","phase":5}"#),
            ("x skip r1 --phase 4 --reason y", "r1/skip", r#"{"reason":"y","phase":4}"#),
            ("x check r1 runbook --reason y", "r1/check", r#"{"reason":"y","item":"runbook"}"#),
            ("x rollback r1 --reason y", "r1/rollback", r#"{"reason":"y","scope":"latest"}"#),
            ("x rollback r1 --all --reason y", "r1/rollback", r#"{"reason":"y","scope":"all"}"#),
            ("x incident resolve r1 2 --reason y", "r1/resolve", r#"{"reason":"y","incident":2}"#),
        ] {
            assert_eq!(sent(line), (path.to_string(), body.to_string()), "{line}");
        }
    }

    #[test]
    fn an_item_is_ticked_only_where_a_person_still_owes_it() {
        let rollout = samples::rollout();
        assert_eq!(phases_that_need(&rollout, "runbook"), [2]);
        assert_eq!(phases_that_need(&rollout, "dashboard"), [0; 0]);
        assert_eq!(phases_that_need(&rollout, "nothing"), [0; 0]);
    }
}
