//! Owns what is wrong with a configuration, and how it is shown: message, place in the file, way out.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, NamedSource, SourceSpan};

use crate::cli::Paint;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("failed to read the configuration {}", path.display())]
    #[diagnostic(code(RO0001), help("name another file with --config"))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file can be read and is wrong.
    #[error("the configuration {} has {}", path.display(), count(.mistakes))]
    #[diagnostic(code(RO0001))]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Its text.
        #[source_code]
        text: NamedSource<String>,
        /// What is wrong, in file order.
        #[related]
        mistakes: Vec<Mistake>,
    },
}

/// One thing that is wrong.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub(crate) struct Mistake {
    message: String,
    #[label("here")]
    span: Option<SourceSpan>,
    #[help]
    hint: Option<String>,
}

impl ConfigError {
    pub(super) fn wrong(path: &Path, text: String, mistakes: Vec<Mistake>) -> Self {
        let text = NamedSource::new(path.display().to_string(), text).with_language("toml");
        Self::Wrong { path: path.to_owned(), text, mistakes }
    }

    /// The error as a person reads it.
    pub(crate) fn render(&self, paint: Paint) -> String {
        let theme = match paint {
            Paint::Coloured => GraphicalTheme::unicode(),
            Paint::Plain => GraphicalTheme::none(),
        };
        let handler = GraphicalReportHandler::new_themed(theme).with_width(100).with_links(false);
        let mut shown = String::new();
        match handler.render_report(&mut shown, self) {
            Ok(()) => shown,
            Err(_) => self.to_string(),
        }
    }
}

impl Mistake {
    pub(super) fn at(place: Range<usize>, message: impl Into<String>) -> Self {
        Self { message: message.into(), span: Some(place.into()), hint: None }
    }

    pub(super) fn hint(self, hint: &str) -> Self {
        Self { hint: Some(hint.to_owned()), ..self }
    }

    pub(super) fn malformed(error: &toml::de::Error) -> Self {
        let span = error.span().map(SourceSpan::from);
        Self { message: error.message().replace('\n', "; "), span, hint: None }
    }

    #[cfg(test)]
    pub(super) fn place(&self) -> Option<Range<usize>> {
        self.span.map(|span| span.offset()..span.offset() + span.len())
    }
}

fn count(mistakes: &[Mistake]) -> String {
    match mistakes.len() {
        1 => "a mistake".to_owned(),
        count => format!("{count} mistakes"),
    }
}
