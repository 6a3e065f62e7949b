//! Performs effects against a Convex deployment: effect to HTTP to outcome.
//!
//! **Promise**: every request is sent at most once per effect tried, and every failure is sorted by what it means, so that
//! the core alone decides about another try. A flag is never reported as set without having been read back. The key never
//! appears in anything this crate returns.
//!
//! * [`Convex`] performs effects on one deployment; [`Target`] says which.
//! * [`wire`] is the pure half: calls to requests, responses to replies. A simulator implements [`Transport`] and uses
//!   [`Convex::over`], so that everything but the sockets is the real thing.
//! * [`Endpoint`] asks the web servers and Prometheus servers that know what Convex does not.
//! * [`Convex::executions`] and [`Convex::app_metrics`] tell of health without code of the app; the first needs
//!   [`Convex::follow`] to run, which [`Followers`] see to.
//! * [`KeyReport`] says what the key may do, before a rollout needs it; [`Convex::preflight`] says everything else.
//!
//! Refuses: retries, redirects, proxies, answers beyond the deployment's own limits, keys that name no deployment.

mod calls;
mod changes;
mod convex;
mod deprecation;
mod endpoint;
mod error;
mod flags;
mod followers;
mod functions;
mod invoke;
mod key;
mod lanes;
mod measure;
mod preflight;
mod silence;
mod stops;
mod target;
mod text;
mod transport;
mod value;
pub mod wire;

pub use calls::{Lack, Told};
pub use convex::Convex;
pub use endpoint::{Answer, Endpoint, EndpointCredential, EndpointError, EndpointTarget, ask_all};
pub use error::TransportError;
pub use followers::Followers;
pub use key::{KeyReport, Operations};
pub use preflight::{
    Admission, Bar, Finding, Needs, Role, Standing, Survey, Wanted, endpoint_finding,
};
pub use silence::Unwatched;
pub use target::{ConvexError, Target};
pub use transport::{Http, Transport};
pub use value::{ConvexValue, Pointed, ValueError};
