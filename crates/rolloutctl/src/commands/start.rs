//! Owns `start`: a plan file becomes a rollout.
//!
//! The plan is read here first, so that mistakes are shown in the file; the daemon reads it again and decides.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rollout_api::client::{ClientError, IdempotencyKey};
use rollout_api::{Answer, Exit, StartRequest, plan};

use super::{Session, lint};
use crate::cli::{Format, Start, Until};
use crate::diagnose::PlanFile;
use crate::failure::Failure;
use crate::render::status::line;

impl Session<'_, '_> {
    pub(super) async fn start(mut self, start: Start) -> Result<Exit, Failure> {
        let text = lint::read(&start.file)?;
        let file = PlanFile { path: &start.file, text: &text };
        if let Err(errors) = plan::parse(&text) {
            match self.format {
                Format::Text => {
                    self.io.say_rendered(&file.picture(&errors, self.env.stderr, self.env.width))
                }
                Format::Json => self.io.say(&file.values(&errors).to_string()),
            }
            self.io.say(&format!("refused: {errors}; nothing was started"));
            return Ok(Exit::Refused);
        }
        let start_at = start.at.as_deref().map(|at| moment(at, &self.env.zone)).transpose()?;
        let key = start.idempotency_key.unwrap_or_else(IdempotencyKey::random);
        let request = StartRequest {
            plan: text.clone(),
            start_at: start_at.map(|at| at.to_string()),
            reason: start.reason.clone(),
        };
        let started = match self.client.start(&request, &key).await {
            Ok(started) => started,
            Err(error) => return self.explain(error, &file, &key),
        };
        match self.format {
            Format::Text => self.io.print_line(&started.rollout.id)?,
            Format::Json => self.io.print_json(&started)?,
        }
        self.io.say(&match started.answer {
            Answer::Accepted => line(&started.rollout),
            Answer::Already => format!("started before with this key; {}", line(&started.rollout)),
        });
        if self.format == Format::Text {
            let id = &started.rollout.id;
            if let Some(notice) = &started.notice {
                self.io.say(notice);
            }
            for warning in &started.warnings {
                self.io.say(&format!(
                    "{warning}; {id} waits for it, `rolloutctl doctor {id}` shows more"
                ));
            }
        }
        if start.wait {
            return self.status_until(&started.rollout.id, Until::Done, None).await;
        }
        Ok(Exit::Done)
    }

    /// Says what only the starting command knows: the file, and the key under which it may be repeated.
    fn explain(
        &mut self,
        error: ClientError,
        file: &PlanFile<'_>,
        key: &IdempotencyKey,
    ) -> Result<Exit, Failure> {
        match &error {
            ClientError::Problem(problem)
                if self.format == Format::Text && !problem.violations.is_empty() =>
            {
                // Each reason is said once, at its place in the file.
                let picture = file.picture_of_problem(problem, self.env.stderr, self.env.width);
                self.io.say_rendered(&picture);
                let (title, code) = (&problem.title, &problem.code);
                self.io.say(&format!("refused: {title} ({code}); nothing was started"));
                return Ok(problem.exit());
            }
            ClientError::Unreachable { .. } if error.io_kind().is_none() => {
                let key = key.as_str();
                self.io.say(&format!(
                    "whether it was started is not known; repeat with --idempotency-key {key}"
                ));
            }
            ClientError::Problem(_)
            | ClientError::Unreachable { .. }
            | ClientError::Protocol { .. } => {}
        }
        Err(error.into())
    }
}

/// Reads a moment: with an offset, or on the clock of `zone`.
fn moment(text: &str, zone: &TimeZone) -> Result<Timestamp, Failure> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let local = text.parse::<DateTime>().ok().and_then(|local| zone.to_timestamp(local).ok());
    local.ok_or_else(|| {
        Failure::Usage(format!(
            "`{text}` is no time; write 2026-11-23T09:00:00Z, or 2026-11-23T09:00 in your zone"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_with_an_offset_or_on_the_local_clock() {
        let zone = TimeZone::fixed(jiff::tz::offset(-6));
        let read = |text: &str| {
            moment(text, &zone).map(|at| at.to_string()).map_err(|failure| failure.exit())
        };
        assert_eq!(read("2026-11-23T09:00:00Z"), Ok("2026-11-23T09:00:00Z".into()));
        assert_eq!(read("2026-11-23T09:00"), Ok("2026-11-23T15:00:00Z".into()));
        assert_eq!(read("2026-11-23 09:00"), Ok("2026-11-23T15:00:00Z".into()));
        assert_eq!(read("tomorrow"), Err(Exit::Usage));
    }
}
