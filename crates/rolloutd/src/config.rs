//! Owns the configuration: the file as written, the environment that systemd gives, and every path derived from the two.
//!
//! Refuses unknown keys, and everything it does not understand, with the place in the file. Holds no secrets: credentials
//! are files of their own, named here and read in `credential.rs`.

mod endpoint;
mod mistake;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use rollout_convex::Target;
use serde::Deserialize;
use toml::Spanned;

use crate::access::Operators;

pub(crate) use endpoint::{EndpointConfig, Scheme};
pub(crate) use mistake::{ConfigError, Mistake};

/// Where the configuration is when nobody says otherwise.
pub(crate) const CONFIG_PATH: &str = "/etc/rolloutd/rolloutd.toml";
/// Longest time for one request. A reading or a write takes at most three requests in a row, and the engine gives an
/// effect up after three minutes.
const TIMEOUT_MAX: Duration = Duration::from_secs(55);
/// Shortest time for one request; below that a healthy deployment looks like an outage.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// The socket's owner and group may use it.
const SOCKET_MODE_DEFAULT: u32 = 0o660;

/// Everything the daemon was told, checked.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where the journal and everything else that must last is kept.
    pub(crate) state_dir: PathBuf,
    /// Where the daemon listens.
    pub(crate) socket: PathBuf,
    /// The socket's permissions; whoever may open it may read.
    pub(crate) socket_mode: u32,
    /// Where credential files are.
    pub(crate) credentials_dir: PathBuf,
    /// The deployments by the names that plans use.
    pub(crate) deployments: BTreeMap<String, DeploymentConfig>,
    /// Where sources beside the deployment are asked, by the names that plans use.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "`wiring` reads it once plans can name endpoints")
    )]
    pub(crate) endpoints: BTreeMap<String, EndpointConfig>,
    /// Who may give orders.
    pub(crate) operators: Operators,
}

/// One deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeploymentConfig {
    /// Its origin.
    pub(crate) url: String,
    /// The file with its key.
    pub(crate) credential: PathBuf,
    /// Longest time for one request.
    pub(crate) timeout: Duration,
}

/// What the surroundings say about places: the variables that systemd sets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// `STATE_DIRECTORY`
    pub(crate) state: Option<PathBuf>,
    /// `RUNTIME_DIRECTORY`
    pub(crate) runtime: Option<PathBuf>,
    /// `CREDENTIALS_DIRECTORY`
    pub(crate) credentials: Option<PathBuf>,
}

/// The file as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    state_dir: Option<Spanned<PathBuf>>,
    socket: Option<Spanned<PathBuf>>,
    socket_mode: Option<Spanned<String>>,
    credentials_dir: Option<Spanned<PathBuf>>,
    #[serde(default)]
    deployments: BTreeMap<Spanned<String>, DeploymentFile>,
    #[serde(default)]
    endpoints: BTreeMap<Spanned<String>, endpoint::EndpointFile>,
    #[serde(default)]
    access: AccessFile,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeploymentFile {
    url: Spanned<String>,
    credential: Option<Spanned<String>>,
    timeout: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessFile {
    #[serde(default)]
    operators: Vec<Spanned<String>>,
}

impl Surroundings {
    /// Asks the environment.
    pub(crate) fn from_env() -> Self {
        // systemd separates several directories by colons; the first one is ours.
        let first = |name: &str| {
            let value = std::env::var(name).ok()?;
            let first = value.split(':').next().unwrap_or_default();
            (!first.is_empty()).then(|| PathBuf::from(first))
        };
        Self {
            state: first("STATE_DIRECTORY"),
            runtime: first("RUNTIME_DIRECTORY"),
            credentials: first("CREDENTIALS_DIRECTORY"),
        }
    }
}

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when there is none, or with every mistake in it.
    pub(crate) fn read(path: &Path, surroundings: &Surroundings) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, surroundings).map_err(|found| ConfigError::wrong(path, text, found))
    }

    /// Reads a configuration's text.
    fn parse(text: &str, surroundings: &Surroundings) -> Result<Self, Vec<Mistake>> {
        let file: ConfigFile =
            toml::from_str(text).map_err(|error| vec![Mistake::malformed(&error)])?;
        let mut mistakes = Vec::new();
        let config = file.check(surroundings, &mut mistakes);
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    /// Where the journal is.
    pub(crate) fn store_dir(&self) -> PathBuf {
        self.state_dir.join("store")
    }
}

impl ConfigFile {
    /// Checks every part; notes what is wrong and goes on with something that is not used.
    fn check(self, surroundings: &Surroundings, mistakes: &mut Vec<Mistake>) -> Config {
        let or = |given: &Option<PathBuf>, default: &str| given.clone().unwrap_or(default.into());
        let runtime = or(&surroundings.runtime, "/run/rolloutd");
        let state_dir = place(self.state_dir, mistakes);
        let socket = place(self.socket, mistakes);
        let credentials_dir = place(self.credentials_dir, mistakes);
        let credentials_dir = credentials_dir
            .unwrap_or_else(|| or(&surroundings.credentials, "/etc/rolloutd/credentials"));
        let mode = self.socket_mode.map(|mode| noted(socket_mode(&mode), mistakes));
        let checked = self.deployments.into_iter().map(|(name, file)| {
            let name = noted(plain_name(name, "a deployment"), mistakes).unwrap_or_default();
            let deployment = file.check(&name, &credentials_dir, mistakes);
            (name, deployment)
        });
        let deployments = checked.collect();
        let checked = self.endpoints.into_iter().map(|(name, file)| {
            let name = noted(plain_name(name, "an endpoint"), mistakes).unwrap_or_default();
            (name, file.check(&credentials_dir, mistakes))
        });
        let endpoints = checked.collect();
        let operators = self.access.operators.iter();
        let operators = operators.filter_map(|entry| noted(operator(entry), mistakes)).collect();
        Config {
            state_dir: state_dir.unwrap_or_else(|| or(&surroundings.state, "/var/lib/rolloutd")),
            socket: socket.unwrap_or_else(|| runtime.join("rolloutd.sock")),
            socket_mode: mode.flatten().unwrap_or(SOCKET_MODE_DEFAULT),
            credentials_dir,
            deployments,
            endpoints,
            operators: Operators::of(operators),
        }
    }
}

impl DeploymentFile {
    fn check(self, name: &str, dir: &Path, mistakes: &mut Vec<Mistake>) -> DeploymentConfig {
        let credential = match self.credential {
            Some(file) => noted(file_name(file), mistakes).unwrap_or_default(),
            None => format!("{name}.key"),
        };
        let timeout = self.timeout.and_then(|text| noted(timeout(&text), mistakes));
        let url = match self.url.get_ref().trim() {
            "" => noted(Err(Mistake::at(self.url.span(), "the URL is empty")), mistakes),
            url => Some(url.to_owned()),
        };
        DeploymentConfig {
            url: url.unwrap_or_default(),
            credential: dir.join(credential),
            timeout: timeout.unwrap_or(Target::TIMEOUT_DEFAULT),
        }
    }
}

/// Takes what was found, or notes the mistake.
fn noted<T>(found: Result<T, Mistake>, mistakes: &mut Vec<Mistake>) -> Option<T> {
    found.map_err(|mistake| mistakes.push(mistake)).ok()
}

/// A place must not depend on the directory that the daemon was started in.
fn place(given: Option<Spanned<PathBuf>>, mistakes: &mut Vec<Mistake>) -> Option<PathBuf> {
    let given = given?;
    if given.get_ref().is_absolute() {
        return Some(given.into_inner());
    }
    let message = format!("`{}` is not an absolute path", given.get_ref().display());
    mistakes.push(Mistake::at(given.span(), message));
    None
}

fn socket_mode(text: &Spanned<String>) -> Result<u32, Mistake> {
    let digits = text.get_ref().trim_start_matches("0o");
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| {
        Mistake::at(text.span(), format!("`{}` is not a file mode", text.get_ref()))
            .hint("three octal digits, such as \"0660\": owner and group may use the socket")
    })
}

/// A name that plans use, of `what`.
fn plain_name(name: Spanned<String>, what: &str) -> Result<String, Mistake> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let starts_well =
        name.get_ref().bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if starts_well && name.get_ref().bytes().all(plain) {
        return Ok(name.into_inner());
    }
    let message = format!("`{}` cannot be the name of {what}", name.get_ref());
    Err(Mistake::at(name.span(), message).hint("letters, digits, `-`, `_` and `.`"))
}

fn file_name(file: Spanned<String>) -> Result<String, Mistake> {
    let name = file.get_ref();
    if !name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != ".." {
        return Ok(file.into_inner());
    }
    let message = format!("`{name}` is not a plain file name");
    Err(Mistake::at(file.span(), message)
        .hint("only the name of a file in `credentials_dir`; the key itself is in that file"))
}

fn timeout(text: &Spanned<String>) -> Result<Duration, Mistake> {
    let hint = "a number with its unit, such as \"20s\"";
    let wrong = |message: String| Mistake::at(text.span(), message).hint(hint);
    let parsed = text.get_ref().parse::<SignedDuration>().ok();
    let length = parsed.and_then(|length| Duration::try_from(length).ok());
    let length =
        length.ok_or_else(|| wrong(format!("`{}` is not a length of time", text.get_ref())))?;
    if (TIMEOUT_MIN..=TIMEOUT_MAX).contains(&length) {
        return Ok(length);
    }
    let (least, most) = (TIMEOUT_MIN.as_millis(), TIMEOUT_MAX.as_secs());
    Err(wrong(format!("a timeout lies between {least} ms and {most} s")))
}

fn operator(entry: &Spanned<String>) -> Result<String, Mistake> {
    let text = entry.get_ref().trim();
    let is_number = |uid: &str| uid.parse::<u32>().is_ok();
    if !text.is_empty() && text.strip_prefix("uid:").is_none_or(is_number) {
        return Ok(text.to_owned());
    }
    Err(Mistake::at(entry.span(), format!("`{text}` names no user"))
        .hint("a user name such as \"alice\", or a number such as \"uid:1000\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, Vec<Mistake>> {
        Config::parse(text, &Surroundings::default())
    }

    /// The text that a mistake points at, and its message.
    fn mistake(text: &str) -> (String, String) {
        let found = parse(text).unwrap_err().remove(0);
        let place = found.place().unwrap_or_default();
        (text[place].to_owned(), found.to_string())
    }

    #[test]
    fn an_empty_file_has_the_usual_places() {
        let config = parse("").unwrap();
        assert_eq!(config.store_dir(), Path::new("/var/lib/rolloutd/store"));
        assert_eq!(config.socket, Path::new("/run/rolloutd/rolloutd.sock"));
        assert_eq!(config.socket_mode, 0o660);
        assert!(config.deployments.is_empty());
        assert_eq!(config.operators, Operators::Anyone);
    }

    #[test]
    fn systemd_says_where_things_are_and_the_file_has_the_last_word() {
        let surroundings = Surroundings {
            state: Some("/s".into()),
            runtime: Some("/r".into()),
            credentials: Some("/c".into()),
        };
        let text = "[deployments.production]\nurl = \"https://a-b-1.convex.cloud\"";
        let config = Config::parse(text, &surroundings).unwrap();
        assert_eq!(config.socket, Path::new("/r/rolloutd.sock"));
        let production = &config.deployments["production"];
        assert_eq!(production.credential, Path::new("/c/production.key"));
        assert_eq!(production.timeout, Duration::from_secs(20));
        let text =
            "state_dir = \"/elsewhere\"\nsocket_mode = \"0600\"\n[access]\noperators = [\"uid:7\"]";
        let config = Config::parse(text, &surroundings).unwrap();
        assert_eq!(config.state_dir, Path::new("/elsewhere"));
        assert_eq!(config.socket_mode, 0o600);
        assert!(config.operators.includes(Some(7), "nobody"));
        assert!(!config.operators.includes(Some(8), "nobody"));
    }

    #[test]
    fn every_mistake_points_at_its_place() {
        let wrong = |text| mistake(text);
        let (place, message) = wrong("socket = \"/s\"\nstate = \"/x\"");
        assert_eq!((place.as_str(), message.contains("unknown field `state`")), ("state", true));
        assert_eq!(wrong("state_dir = \"here\"").0, "\"here\"");
        assert_eq!(wrong("socket_mode = \"rw\"").0, "\"rw\"");
        let in_deployment = |line: &str| mistake(&format!("[deployments.p]\nurl = \"u\"\n{line}"));
        assert_eq!(in_deployment("credential = \"../p.key\"").0, "\"../p.key\"");
        assert_eq!(in_deployment("timeout = \"20\"").0, "\"20\"");
        assert_eq!(in_deployment("timeout = \"5min\"").1, "a timeout lies between 100 ms and 55 s");
        assert_eq!(in_deployment("key = \"secret\"").0, "key");
        assert_eq!(wrong("[deployments.\"a b\"]\nurl = \"u\"").0, "\"a b\"");
        assert_eq!(
            wrong("[endpoints.\"a b\"]\nurl = \"http://x\"").1,
            "`a b` cannot be the name of an endpoint"
        );
        assert_eq!(wrong("[deployments.p]\ncredential = \"k\"").1, "missing field `url`");
        assert_eq!(wrong("[access]\noperators = [\"alice\", \"uid:x\"]").0, "\"uid:x\"");
        assert!(wrong("socket = ").1.starts_with("string values must be quoted"));
    }

    #[test]
    fn mistakes_are_reported_together() {
        let found = parse("state_dir = \"a\"\nsocket = \"b\"\nsocket_mode = \"9\"").unwrap_err();
        assert_eq!(found.len(), 3);
        let shown = ConfigError::wrong(Path::new("/c.toml"), "state_dir = \"a\"".into(), found);
        assert!(shown.render(crate::cli::Paint::Plain).contains("is not an absolute path"));
    }
}
