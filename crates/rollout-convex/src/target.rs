//! Owns where a deployment is and how it is entered: URL and key, checked before anything is sent.
//!
//! Refuses URLs that are no origin, the HTTP-actions origin `*.convex.site`, and keys that name no deployment or carry an
//! "acting as" suffix. Errors never quote the key.

use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

/// A deployment as configured.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name in plans and messages.
    pub name: String,
    /// Its origin: `https://happy-otter-123.convex.cloud`, `http://127.0.0.1:3210`.
    pub url: String,
    /// Admin key or deploy key.
    pub key: SecretString,
    /// Longest time for one request, from connecting to the last byte of the answer. See [`Target::TIMEOUT_DEFAULT`].
    pub timeout: Duration,
}

/// Why a target cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConvexError {
    /// The URL is none.
    #[error(
        "`{url}` is not a URL; a deployment's URL looks like https://happy-otter-123.convex.cloud"
    )]
    NotAUrl {
        /// As configured.
        url: String,
    },
    /// The URL has a scheme other than http and https.
    #[error("`{url}` is neither http nor https")]
    Scheme {
        /// As configured.
        url: String,
    },
    /// The URL is the origin of HTTP actions.
    #[error(
        "`{url}` serves HTTP actions only; use the deployment's URL, which ends in .convex.cloud"
    )]
    HttpActions {
        /// As configured.
        url: String,
    },
    /// The URL says more than where the deployment is.
    #[error("the URL has a {part}; give only scheme, host and port")]
    NotAnOrigin {
        /// What is too much. The URL is not quoted: it may hold a password.
        part: &'static str,
    },
    /// The key is empty.
    #[error("the key of deployment {name} is empty")]
    KeyEmpty {
        /// The deployment.
        name: String,
    },
    /// The key has white space inside, or characters that no key has.
    #[error(
        "the key of deployment {name} has white space or other strange characters inside; is it more than one line?"
    )]
    KeyStrange {
        /// The deployment.
        name: String,
    },
    /// The key is for a project, or for previews that are yet to be made.
    #[error(
        "the key of deployment {name} is a {kind} key, which names no deployment; use a deploy key of the deployment itself"
    )]
    KeyNamesNoDeployment {
        /// The deployment.
        name: String,
        /// `project` or `preview`.
        kind: &'static str,
    },
    /// The key ends with the identity of a user.
    #[error(
        "the key of deployment {name} ends with a user to act as (a second colon); use the key without it"
    )]
    KeyActsAs {
        /// The deployment.
        name: String,
    },
    /// The timeout is zero.
    #[error("the timeout of deployment {name} is zero")]
    TimeoutZero {
        /// The deployment.
        name: String,
    },
    /// The HTTP client cannot be made, as on a machine without root certificates.
    #[error("failed to prepare connections to deployment {name}")]
    Client {
        /// The deployment.
        name: String,
        /// What the client says.
        #[source]
        cause: reqwest::Error,
    },
}

impl Target {
    /// A good timeout for one request. The deployment lets a query run for seconds, not minutes.
    pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(20);
}

/// A target that was checked.
#[derive(Debug)]
pub(crate) struct CheckedTarget {
    pub(crate) name: String,
    pub(crate) origin: Url,
    pub(crate) key: SecretString,
    pub(crate) timeout: Duration,
    /// What is allowed, and should be known.
    pub(crate) warnings: Vec<String>,
}

/// Checks a target without sending anything.
pub(crate) fn check(target: Target) -> Result<CheckedTarget, ConvexError> {
    let Target { name, url, key, timeout } = target;
    let origin = check_url(&url)?;
    let key = check_key(&name, &key)?;
    if timeout.is_zero() {
        return Err(ConvexError::TimeoutZero { name });
    }
    let mut warnings = Vec::new();
    let host = origin.host_str().unwrap_or_default();
    if origin.scheme() == "http" && !is_loopback(host) {
        warnings.push(format!(
            "deployment {name} is reached over http: its key travels to {host} unencrypted"
        ));
    }
    let named = deployment_in(key.expose_secret());
    if let (Some(named), Some((first, "convex.cloud"))) = (named, host.split_once('.'))
        && named != first
    {
        warnings
            .push(format!("the key of deployment {name} names {named}, but its URL names {first}"));
    }
    Ok(CheckedTarget { name, origin, key, timeout, warnings })
}

/// Takes an origin, with or without a slash at its end.
fn check_url(url: &str) -> Result<Url, ConvexError> {
    let parsed =
        Url::parse(url.trim()).map_err(|_| ConvexError::NotAUrl { url: url.to_owned() })?;
    let too_much = match () {
        () if !parsed.username().is_empty() || parsed.password().is_some() => {
            Some("user name or password")
        }
        () if parsed.query().is_some() => Some("query string"),
        () if parsed.fragment().is_some() => Some("fragment"),
        () if !matches!(parsed.path(), "" | "/") => Some("path"),
        () => None,
    };
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(ConvexError::Scheme { url: parsed.scheme().to_owned() });
    }
    if let Some(part) = too_much {
        return Err(ConvexError::NotAnOrigin { part });
    }
    let host = parsed.host_str().unwrap_or_default().trim_end_matches('.');
    if host.is_empty() {
        return Err(ConvexError::NotAUrl { url: url.to_owned() });
    }
    if host == "convex.site" || host.ends_with(".convex.site") {
        return Err(ConvexError::HttpActions { url: url.to_owned() });
    }
    Ok(parsed)
}

/// Takes a key in one of the forms that name a deployment, or a bare token; without white space around it.
fn check_key(name: &str, key: &SecretString) -> Result<SecretString, ConvexError> {
    let name = name.to_owned();
    let key = key.expose_secret().trim();
    if key.is_empty() {
        return Err(ConvexError::KeyEmpty { name });
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ConvexError::KeyStrange { name });
    }
    if let Some((left, secret)) = key.split_once('|') {
        if secret.is_empty() {
            return Err(ConvexError::KeyEmpty { name });
        }
        let parts: Vec<_> = left.split(':').collect();
        match parts.as_slice() {
            ["project", ..] => {
                return Err(ConvexError::KeyNamesNoDeployment { name, kind: "project" });
            }
            ["preview", _, _, ..] => {
                return Err(ConvexError::KeyNamesNoDeployment { name, kind: "preview" });
            }
            _ => {}
        }
        if secret.contains(':') {
            return Err(ConvexError::KeyActsAs { name });
        }
    }
    Ok(SecretString::from(key))
}

/// The deployment that a key names, if it names one.
fn deployment_in(key: &str) -> Option<&str> {
    let (left, _) = key.split_once('|')?;
    Some(left.split_once(':').map_or(left, |(_, rest)| rest))
}

pub(crate) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost"
        || host.ends_with(".localhost")
        || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, key: &str) -> Target {
        Target {
            name: "prod".into(),
            url: url.into(),
            key: SecretString::from(key),
            timeout: Target::TIMEOUT_DEFAULT,
        }
    }

    const URL: &str = "https://happy-otter-123.convex.cloud";

    #[test]
    fn origins_are_taken_and_everything_else_is_refused() {
        for url in [
            URL,
            "https://happy-otter-123.convex.cloud/",
            "http://127.0.0.1:3210",
            "https://flags.example.com:8443",
        ] {
            assert!(check(target(url, "a|0123456789")).is_ok(), "{url} was refused");
        }
        let refused = |url: &str| check(target(url, "a|0123456789")).unwrap_err();
        assert!(matches!(refused("happy-otter-123"), ConvexError::NotAUrl { .. }));
        assert!(matches!(refused(""), ConvexError::NotAUrl { .. }));
        assert!(matches!(refused("ftp://x"), ConvexError::Scheme { .. }));
        assert!(matches!(
            refused("https://happy-otter-123.convex.site"),
            ConvexError::HttpActions { .. }
        ));
        assert!(matches!(refused("https://HAPPY.Convex.Site./"), ConvexError::HttpActions { .. }));
        assert!(matches!(
            refused("https://dashboard.convex.dev/t/team"),
            ConvexError::NotAnOrigin { part: "path" }
        ));
        assert!(matches!(
            refused("https://x.convex.cloud?a=1"),
            ConvexError::NotAnOrigin { part: "query string" }
        ));
        let with_password = refused("https://me:hunter2@x.convex.cloud");
        assert!(!format!("{with_password} {with_password:?}").contains("hunter2"));
    }

    #[test]
    fn keys_must_name_the_deployment_and_nobody_else() {
        for key in
            ["otter|0123", "prod:otter|eyJ2Mg==", "preview:otter|x", "bare-token", "  otter|0123\n"]
        {
            assert!(check(target(URL, key)).is_ok(), "{key:?} was refused");
        }
        let refused = |key: &str| check(target(URL, key)).unwrap_err();
        for empty in ["", " \n", "otter|"] {
            assert!(matches!(refused(empty), ConvexError::KeyEmpty { .. }), "{empty:?}");
        }
        for strange in ["otter|01 23", "otter|01\n23", "otter|ü", "a\u{0}b"] {
            assert!(matches!(refused(strange), ConvexError::KeyStrange { .. }), "{strange:?}");
        }
        for (key, kind) in
            [("preview:team:project|x", "preview"), ("project:team:project|x", "project")]
        {
            assert!(
                matches!(refused(key), ConvexError::KeyNamesNoDeployment { kind: k, .. } if k == kind),
                "{key}"
            );
        }
        let acting = refused("prod:otter|SECRETSECRET:eyJ1c2VyIn0=");
        assert!(matches!(acting, ConvexError::KeyActsAs { .. }));
        assert!(!format!("{acting} {acting:?}").contains("SECRETSECRET"));
    }

    #[test]
    fn what_is_risky_is_allowed_with_a_warning() {
        let warnings = |url: &str, key: &str| check(target(url, key)).unwrap().warnings;
        assert_eq!(warnings(URL, "prod:happy-otter-123|x"), [""; 0]);
        for local in ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"] {
            assert_eq!(warnings(local, "anything|x"), [""; 0], "{local}");
        }
        let plain = warnings("http://convex.internal:3210", "otter|x");
        assert_eq!(
            plain,
            [
                "deployment prod is reached over http: its key travels to convex.internal unencrypted"
            ]
        );
        let other = warnings(URL, "prod:sad-crab-9|x");
        assert_eq!(
            other,
            ["the key of deployment prod names sad-crab-9, but its URL names happy-otter-123"]
        );
    }
}
