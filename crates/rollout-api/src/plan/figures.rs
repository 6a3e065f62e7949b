//! Owns which figure a criterion points at where the source's document is fixed: that of `executions` and `app_metrics`.
//!
//! Refuses every pointer at which such a document never has a number; the fields and their units are the core's
//! [`CallFigure`], which the adapter writes the document by. What a function or an endpoint answers with is not known here.

use rollout_core::{CallFigure, Calls, FigureOf, Source};

use super::complaint::{Complaint, meant, suggestion};
use super::spans::child;

/// A source of calls, as criteria point into it.
#[derive(Clone, Copy)]
pub(super) struct CallDocument<'a> {
    calls: &'a Calls,
    told_by: ToldBy,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ToldBy {
    Stream,
    Metrics,
}

impl<'a> CallDocument<'a> {
    /// The document of a source of calls; `None` for other kinds.
    pub(super) fn of(source: &'a Source) -> Option<Self> {
        match source {
            Source::Executions(calls) => Some(Self { calls, told_by: ToldBy::Stream }),
            Source::AppMetrics(calls) => Some(Self { calls, told_by: ToldBy::Metrics }),
            Source::Function(_) | Source::Http(_) | Source::Prometheus(_) => None,
        }
    }

    /// The figure at a JSON pointer.
    pub(super) fn at(self, pointer: &str) -> Result<CallFigure, Complaint> {
        let Some(path) = pointer.strip_prefix('/') else {
            return Err(Complaint::hinted(
                format!("`{pointer}` is no JSON pointer"),
                format!("did you mean `/{pointer}`?"),
            ));
        };
        let written: Vec<&str> = path.split('/').collect();
        let tokens: Vec<String> = written.iter().map(|token| unescaped(token)).collect();
        let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
        match tokens.as_slice() {
            [level @ ("functions" | "callers")] | [level @ ("functions" | "callers"), _] => {
                let name = written.get(1).copied().filter(|name| !name.is_empty());
                let hint = format!("e.g. `/{level}/{}/errorRate`", name.unwrap_or("NAME"));
                Err(Complaint::hinted(format!("`{pointer}` is a level of figures, not one"), hint))
            }
            ["functions", name, field] => self.of_function(name, field),
            ["callers", name, field] => self.of_caller(name, field),
            ["functions", name @ .., field] => Err(Complaint::hinted(
                format!("`{pointer}` has too many slashes; one inside a name is written `~1`"),
                format!("did you mean `/functions/{}/{field}`?", name.join("~1")),
            )),
            [field] => self.of_all(field),
            [level, _, _] => Err(Complaint::hinted(
                format!("there is no level `{level}`"),
                suggestion(level, &LEVELS),
            )),
            _ => Err(Complaint::hinted(
                format!("`{pointer}` lies below what the source tells"),
                self.known("/"),
            )),
        }
    }

    fn of_all(self, field: &str) -> Result<CallFigure, Complaint> {
        let figure = self.named(field, "/")?;
        let is_named = !self.calls.functions.is_empty();
        match (figure.of(), self.told_by) {
            (FigureOf::Calls, _) => self.with_latencies(figure),
            (FigureOf::Deployment, ToldBy::Metrics) => Ok(figure),
            (FigureOf::NamedFunctions, ToldBy::Metrics) if is_named => Ok(figure),
            (FigureOf::NamedFunctions, ToldBy::Metrics) => Err(Complaint::hinted(
                format!("`{field}` is told of named functions only"),
                NAME_THEM,
            )),
            (FigureOf::NamedFunctions | FigureOf::Deployment, ToldBy::Stream) => {
                Err(Complaint::hinted(
                    format!("executions do not tell `{field}`"),
                    "ask a source `app_metrics` for it",
                ))
            }
        }
    }

    fn of_function(self, name: &str, field: &str) -> Result<CallFigure, Complaint> {
        let figure = self.below("functions", name, field)?;
        let usual = Calls::function_name(name);
        if usual != name {
            return Err(Complaint::hinted(
                format!("the source tells of `{name}` as `{usual}`"),
                format!("did you mean `{}/{field}`?", child("/functions", &usual)),
            ));
        }
        let asked: Vec<_> =
            self.calls.functions.iter().map(|name| Calls::function_name(name)).collect();
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        match asked.is_empty() {
            true => function_name(name)?,
            false if asked.contains(&name) => {}
            false => {
                let message = format!("the source does not ask about the function `{name}`");
                return Err(Complaint::hinted(message, suggestion(name, &asked)));
            }
        }
        self.with_latencies(figure)
    }

    fn of_caller(self, name: &str, field: &str) -> Result<CallFigure, Complaint> {
        if self.told_by == ToldBy::Metrics {
            return Err(Complaint::hinted(
                "the deployment's metrics do not tell callers apart",
                format!("point at `/{field}`, or use `executions`"),
            ));
        }
        let figure = self.below("callers", name, field)?;
        caller(name)?;
        let asked: Vec<&str> = self.calls.callers.iter().map(String::as_str).collect();
        if !asked.is_empty() && !asked.contains(&name) {
            let message = format!("the source does not ask about the caller `{name}`");
            return Err(Complaint::hinted(message, suggestion(name, &asked)));
        }
        Ok(figure)
    }

    /// A figure of one function or one caller.
    fn below(self, level: &str, name: &str, field: &str) -> Result<CallFigure, Complaint> {
        let at = format!("{}/", child(&format!("/{level}"), name));
        let figure = self.named(field, &at)?;
        match figure.of() {
            FigureOf::Calls => Ok(figure),
            FigureOf::NamedFunctions | FigureOf::Deployment => Err(Complaint::hinted(
                format!("`{field}` is told of all together"),
                format!("did you mean `/{field}`?"),
            )),
        }
    }

    fn named(self, field: &str, at: &str) -> Result<CallFigure, Complaint> {
        if let Some(figure) = CallFigure::ALL.into_iter().find(|figure| figure.name() == field) {
            return Ok(figure);
        }
        // Another percentile is no slip of the pen: p90 is not meant to be p50.
        let is_percentile = field
            .strip_prefix('p')
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()));
        let near = meant(field, &self.names()).filter(|_| !is_percentile);
        let hint =
            near.map_or_else(|| self.known(at), |near| format!("did you mean `{at}{near}`?"));
        Err(Complaint::hinted(format!("this source tells no `{field}`"), hint))
    }

    /// The deployment keeps one histogram of latencies for each function, and they cannot be added.
    fn with_latencies(self, figure: CallFigure) -> Result<CallFigure, Complaint> {
        let is_unknown = self.told_by == ToldBy::Metrics
            && self.calls.functions.is_empty()
            && figure.is_latency();
        if is_unknown {
            let message = "the deployment's metrics have latencies of named functions only";
            return Err(Complaint::hinted(message, format!("{NAME_THEM}, or use `executions`")));
        }
        Ok(figure)
    }

    /// The names of what this source tells.
    fn names(self) -> Vec<&'static str> {
        let is_told =
            |figure: &CallFigure| self.told_by == ToldBy::Metrics || figure.of() == FigureOf::Calls;
        CallFigure::ALL.into_iter().filter(is_told).map(CallFigure::name).collect()
    }

    fn known(self, at: &str) -> String {
        let at_all = CallFigure::ALL.into_iter().filter(|figure| figure.of() == FigureOf::Calls);
        let names = match at {
            "/" => self.names(),
            _ => at_all.map(CallFigure::name).collect(),
        };
        format!("known here: {}", names.join(", "))
    }
}

/// Refuses a caller that no deployment knows.
pub(super) fn caller(name: &str) -> Result<(), Complaint> {
    match Calls::CALLERS.contains(&name) {
        true => Ok(()),
        false => Err(Complaint::hinted(
            format!("a deployment knows no caller `{name}`"),
            suggestion(name, &Calls::CALLERS),
        )),
    }
}

/// Refuses what cannot be the name of a function, as a deployment tells of it.
pub(super) fn function_name(name: &str) -> Result<(), Complaint> {
    if name.starts_with("_system/") {
        let hint = "name functions of the app, or none at all for all of them";
        return Err(Complaint::hinted("system functions are not counted", hint));
    }
    let fits = match name.split_once(' ') {
        Some((method, path)) => METHODS.contains(&method) && path.starts_with('/'),
        None => {
            let (module, function) = name.split_once(':').unwrap_or((name, "default"));
            let word = |text: &str| {
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
                !text.is_empty() && text.bytes().all(fits)
            };
            module.split('/').all(word) && word(function)
        }
    };
    match fits {
        true => Ok(()),
        false => Err(Complaint::hinted(
            format!("`{name}` is no name of a function"),
            "functions look like `messages:send` or `dir/module:function`, HTTP actions like `GET /path`",
        )),
    }
}

/// A token of a pointer as the name that it stands for (RFC 6901).
fn unescaped(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

const LEVELS: [&str; 2] = ["functions", "callers"];
/// What HTTP actions can be asked with.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const NAME_THEM: &str = "name the functions: `app_metrics = [\"messages:send\"]`";
