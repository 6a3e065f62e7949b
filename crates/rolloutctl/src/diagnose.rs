//! Owns the picture of a plan's mistakes: the lines of the file, a mark under the place, what is wrong, the way out.
//!
//! On a terminal with colours and drawn lines, elsewhere plain.

use std::path::Path;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report,
    Severity,
};
use rollout_api::plan::{self, PlanError, PlanErrors};
use rollout_api::{Problem, ViolationView};
use serde_json::{Value, json};

use crate::env::Screen;

/// A plan file that was read, for showing places in it.
pub(crate) struct PlanFile<'a> {
    /// Its name, as the person wrote it.
    pub(crate) path: &'a Path,
    /// What it says.
    pub(crate) text: &'a str,
}

impl PlanFile<'_> {
    /// Every mistake as a picture.
    pub(crate) fn picture(&self, errors: &PlanErrors, screen: Screen, width: u16) -> String {
        errors.iter().map(|error| self.one(error, screen, width)).collect()
    }

    /// What a daemon found wrong with the plan, each at its place.
    pub(crate) fn picture_of_problem(
        &self,
        problem: &Problem,
        screen: Screen,
        width: u16,
    ) -> String {
        let code = problem.known_code().unwrap_or(rollout_api::Code::PlanInvalid);
        let error = |found: &ViolationView| PlanError {
            code,
            span: plan::locate(self.text, &found.pointer),
            pointer: found.pointer.clone(),
            message: found.message.clone(),
            hint: found.hint.clone(),
        };
        problem.violations.iter().map(|found| self.one(&error(found), screen, width)).collect()
    }

    /// Every mistake as a value, for programs.
    pub(crate) fn values(&self, errors: &PlanErrors) -> Value {
        let value = |error: &PlanError| {
            json!({
                "code": error.code.as_str(),
                "pointer": error.pointer,
                "line": error.line(self.text),
                "message": error.message,
                "hint": error.hint,
            })
        };
        errors.iter().map(value).collect()
    }

    fn one(&self, error: &PlanError, screen: Screen, width: u16) -> String {
        let mut diagnostic = MietteDiagnostic::new(crate::io::tame(&error.message))
            .with_code(error.code.as_str())
            .with_severity(Severity::Error);
        let hint = error.hint.clone().map(|hint| crate::io::tame(&hint));
        // Where there is no place to show, the file must be named in words.
        let nowhere = error.span.is_none().then(|| format!("in {}", self.path.display()));
        let help: Vec<String> = nowhere.into_iter().chain(hint).collect();
        if !help.is_empty() {
            diagnostic = diagnostic.with_help(help.join("; "));
        }
        if let Some(span) = &error.span {
            diagnostic = diagnostic.with_label(LabeledSpan::underline(span.clone()));
        }
        let source = NamedSource::new(self.path.display().to_string(), crate::io::tame(self.text));
        let report = Report::new(diagnostic).with_source_code(source);
        let theme = match screen {
            Screen::Terminal => GraphicalTheme::unicode(),
            Screen::Monochrome => GraphicalTheme::unicode_nocolor(),
            Screen::Pipe => GraphicalTheme::none(),
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(usize::from(width))
            .with_links(false);
        let mut picture = String::new();
        match handler.render_report(&mut picture, report.as_ref()) {
            Ok(()) => picture + "\n",
            Err(_) => format!("{}: {error}\n", self.path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "name = \"a\"\ndeployment = \"p\"\n[[phases]]\nname = \"b\"\nflags = [\"C\"]\nbake = \"24\"\n";

    #[test]
    fn a_mistake_is_shown_in_its_line_with_the_way_out() {
        let file = PlanFile { path: Path::new("plan.toml"), text: TEXT };
        let errors = plan::parse(TEXT).unwrap_err();
        let picture = file.picture(&errors, Screen::Pipe, 80);
        assert!(picture.is_ascii() && !picture.contains('\x1b'), "{picture}");
        for part in
            ["RO0102", "`24` has no unit", "plan.toml:6:8", "6 | bake = \"24\"", "write `24h`"]
        {
            assert!(picture.contains(part), "no {part:?} in\n{picture}");
        }
        assert_eq!(file.values(&errors)[0]["line"], 6);
        assert!(file.picture(&errors, Screen::Terminal, 80).contains('\x1b'));
        assert!(!file.picture(&errors, Screen::Monochrome, 80).contains('\x1b'));
    }

    #[test]
    fn what_the_daemon_found_is_shown_in_the_file_too() {
        let file = PlanFile { path: Path::new("plan.toml"), text: TEXT };
        let found = ViolationView {
            pointer: "/deployment".into(),
            message: "nobody knows it".into(),
            hint: None,
        };
        let problem =
            Problem::new(rollout_api::Code::PlanInvalid, "x").with_violations(vec![found]);
        let picture = file.picture_of_problem(&problem, Screen::Pipe, 80);
        assert!(
            picture.contains("plan.toml:2:14") && picture.contains("nobody knows it"),
            "{picture}"
        );
    }
}
