//! Owns `doctor`: has the daemon look at everything that rollouts stand on, and shows the table.

use rollout_api::{DoctorRequest, Exit, plan};
use rollout_core::RolloutId;

use super::{Session, lint};
use crate::cli::{Doctor, Format};
use crate::diagnose::PlanFile;
use crate::failure::Failure;

impl Session<'_, '_> {
    pub(super) async fn doctor(self, doctor: Doctor) -> Result<Exit, Failure> {
        let mut request =
            DoctorRequest { write_safe_values: doctor.write_safe_values, ..Default::default() };
        if let Some(target) = &doctor.target {
            // A file may be called r1; who has one means it.
            let id = target.to_str().and_then(|text| text.parse::<RolloutId>().ok());
            match id.filter(|_| !target.exists()) {
                Some(id) => request.rollout = Some(id.to_string()),
                None => {
                    let text = lint::read(target)?;
                    if let Err(errors) = plan::parse(&text) {
                        let file = PlanFile { path: target, text: &text };
                        match self.format {
                            Format::Text => {
                                let picture =
                                    file.picture(&errors, self.env.stderr, self.env.width);
                                self.io.say_rendered(&picture);
                            }
                            Format::Json => self.io.say(&file.values(&errors).to_string()),
                        }
                        self.io.say(&format!("refused: {errors}; nothing was looked at"));
                        return Ok(Exit::Refused);
                    }
                    request.plan = Some(text);
                }
            }
        }
        let report = self.client.doctor(&request).await?;
        match self.format {
            Format::Text => self.io.print(&report.page(usize::from(self.env.width)))?,
            Format::Json => self.io.print_json(&report)?,
        }
        Ok(report.exit())
    }
}
