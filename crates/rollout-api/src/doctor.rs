//! Owns what a look at everything answers: `POST /v1/doctor`, and the page that `rolloutctl doctor` and `rolloutd doctor`
//! both print; besides, what is on a deployment, for who writes a plan.
//!
//! Invariant: a line that is not `ok` says what to do.

use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::lines::unbroken;

/// What is to be looked at. Without plan and rollout: every deployment, for what any rollout needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoctorRequest {
    /// A plan file's text: its deployment is looked at, for what this plan needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// A rollout, `r42`: the same for the plan that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<String>,
    /// Also sets each flag of the plan that has its safe value to that value again, to learn whether the app accepts it.
    #[serde(default)]
    pub write_safe_values: bool,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorReport {
    /// One part for the daemon or the machine, then one for each deployment.
    pub sections: Vec<DoctorSection>,
}

/// The findings about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorSection {
    /// What they are about: `deployment production (https://…)`.
    pub title: String,
    /// The findings, in the order of looking.
    pub findings: Vec<FindingView>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingView {
    /// What was looked at, in one or two words: `key`.
    pub check: String,
    /// How it is.
    pub state: FindingState,
    /// What was found.
    pub found: String,
    /// What to do; absent where the state is `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How one thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingState {
    /// As it should be.
    Ok,
    /// Allowed, and should be known.
    Warn,
    /// Could not be found out.
    Unknown,
    /// A rollout would not work.
    Fail,
}

/// What is on a deployment, for who writes a plan: `GET /v1/deployments/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentView {
    /// Its name in the daemon's configuration.
    pub name: String,
    /// Where it answers.
    pub url: String,
    /// All environment variables, by name.
    pub variables: Vec<VariableView>,
    /// All functions of the app as `dir/module:function`; `None` = the deployment does not tell.
    pub functions: Option<Vec<String>>,
}

/// An environment variable on a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariableView {
    /// Its name.
    pub name: String,
    /// Its value where it reads like a flag's, see [`opposite`]; everything else may be a secret and is never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl DoctorReport {
    /// How a command ends that shows this: 3 when something fails.
    pub fn exit(&self) -> Exit {
        let fails = self.count(FindingState::Fail) > 0;
        if fails { Exit::Refused } else { Exit::Done }
    }

    /// The findings in this state.
    pub fn count(&self, state: FindingState) -> usize {
        let all = self.sections.iter().flat_map(|section| &section.findings);
        all.filter(|finding| finding.state == state).count()
    }

    /// The page for people, at most `width` columns where words allow it.
    pub fn page(&self, width: usize) -> String {
        let findings = || self.sections.iter().flat_map(|section| &section.findings);
        let check = findings().map(|finding| finding.check.chars().count()).max().unwrap_or(0);
        let indent = MARGIN + STATE_WIDTH + GAP + check + GAP;
        let room = width.saturating_sub(indent).max(ROOM_MIN);
        let mut page = String::new();
        for section in &self.sections {
            page.push_str(&format!("{}\n", section.title));
            for FindingView { check: name, state, found, advice } in &section.findings {
                let mut lines = wrapped(found, room).into_iter();
                let first = lines.next().unwrap_or_default();
                let word = state.word();
                page.push_str(&format!("  {word:<STATE_WIDTH$}  {name:<check$}  {first}\n"));
                for line in lines {
                    page.push_str(&format!("{:indent$}{line}\n", ""));
                }
                let advice = advice.iter().flat_map(|advice| wrapped(advice, room - ARROW.len()));
                for (number, line) in advice.enumerate() {
                    let lead = if number == 0 { ARROW } else { "   " };
                    page.push_str(&format!("{:indent$}{lead}{line}\n", ""));
                }
            }
            page.push('\n');
        }
        page.push_str(&self.verdict());
        page
    }

    fn verdict(&self) -> String {
        let [ok, warn, unknown, fail] =
            [FindingState::Ok, FindingState::Warn, FindingState::Unknown, FindingState::Fail]
                .map(|state| self.count(state));
        let all = ok + warn + unknown + fail;
        let mut words = vec![format!("{ok} of {all} checks are well")];
        for (count, what) in [(warn, "to know"), (unknown, "not known"), (fail, "failing")] {
            if count > 0 {
                words.push(format!("{count} {what}"));
            }
        }
        format!("{}\n", words.join(", "))
    }
}

impl FindingState {
    /// The word in the table. Failing is loud.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Unknown => "unknown",
            Self::Fail => "FAIL",
        }
    }
}

/// The other value of a flag, where a value reads like a flag's: `true` for `false`, in the same letters.
pub fn opposite(value: &str) -> Option<&'static str> {
    const PAIRS: [(&str, &str); 8] = [
        ("true", "false"),
        ("True", "False"),
        ("TRUE", "FALSE"),
        ("on", "off"),
        ("On", "Off"),
        ("ON", "OFF"),
        ("1", "0"),
        ("enabled", "disabled"),
    ];
    let other = |(one, two): &(&'static str, &'static str)| match value {
        value if value == *one => Some(*two),
        value if value == *two => Some(*one),
        _ => None,
    };
    PAIRS.iter().find_map(other)
}

/// `text` in lines of at most `room` characters; a word that is longer has a line of its own, and so
/// has a command, which can be copied only while it is whole.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut length = 0;
    for word in unbroken(text, usize::MAX) {
        let letters = word.chars().count();
        if length > 0 && length + 1 + letters > room {
            lines.push(String::new());
            length = 0;
        }
        if let Some(line) = lines.last_mut() {
            if length > 0 {
                line.push(' ');
                length += 1;
            }
            line.push_str(word);
            length += letters;
        }
    }
    lines
}

/// Blanks in front of a finding.
const MARGIN: usize = 2;
/// Blanks between columns.
const GAP: usize = 2;
/// Room for the longest state.
const STATE_WIDTH: usize = 7;
/// Least room for what was found, however narrow the page.
const ROOM_MIN: usize = 24;
/// In front of an advice.
const ARROW: &str = "-> ";

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(check: &str, state: FindingState, found: &str, advice: Option<&str>) -> FindingView {
        let advice = advice.map(str::to_owned);
        FindingView { check: check.into(), state, found: found.into(), advice }
    }

    fn report() -> DoctorReport {
        let findings = vec![
            finding("key", FindingState::Ok, "it is an admin key, and taken", None),
            finding(
                "function",
                FindingState::Fail,
                "there is no function monitoring/dashboard:getHealth on the deployment",
                Some(
                    "deploy it, or correct its name in the plan; there is monitoring/dashboard:getSystemHealth",
                ),
            ),
        ];
        DoctorReport {
            sections: vec![DoctorSection { title: "deployment production".into(), findings }],
        }
    }

    #[test]
    fn the_page_fits_eighty_columns_and_says_what_to_do() {
        let expected = "\
deployment production
  ok       key       it is an admin key, and taken
  FAIL     function  there is no function monitoring/dashboard:getHealth on the
                     deployment
                     -> deploy it, or correct its name in the plan; there is
                        monitoring/dashboard:getSystemHealth

1 of 2 checks are well, 1 failing
";
        assert_eq!(report().page(80), expected);
        assert_eq!(report().exit(), Exit::Refused);
    }

    #[test]
    fn no_width_is_too_narrow() {
        assert!(report().page(0).lines().count() > 8);
        assert_eq!(wrapped("", 10), [""]);
    }

    #[test]
    fn a_command_is_never_broken() {
        let advice = "look there, then try it with `npx convex run monitoring:health '{}'`";
        let lines = wrapped(advice, 30);
        assert_eq!(
            lines,
            ["look there, then try it with", "`npx convex run monitoring:health '{}'`"]
        );
    }

    #[test]
    fn a_flag_has_an_opposite_and_a_secret_has_none() {
        assert_eq!(opposite("true"), Some("false"));
        assert_eq!(opposite("disabled"), Some("enabled"));
        assert_eq!(opposite("0"), Some("1"));
        for value in ["", "yes!", "sk-1", "10", "https://x"] {
            assert_eq!(opposite(value), None, "{value}");
        }
    }
}
