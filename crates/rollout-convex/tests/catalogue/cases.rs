//! Owns the catalogue: each situation of the wire contract (sections 1.3, 2.5, 3.2 and 6), with the texts it comes with.

use crate::rows::Answer::{
    Coded, Empty, Failed, Garbage, Half, Hang, NoConnection, Old, Page, Thrown, TooLong,
};
use crate::rows::Place::{Any, Function, Reading, Write};
use crate::rows::{Answer, Cases};

pub(crate) const KEY: Cases = &[
    (
        "wrong key, or one of another deployment",
        Any,
        Coded(401, "BadAdminKey", "The provided admin key was invalid for this instance"),
    ),
    (
        "token that is no longer valid",
        Any,
        Coded(401, "AccessTokenInvalid", "The access token is invalid"),
    ),
    ("the same, said without a code", Any, Empty(401)),
    (
        "no admin key, or a user's token",
        Any,
        Coded(403, "BadDeployKey", "The deploy key was invalid"),
    ),
    ("refused by something that says no code", Any, Page(403)),
    (
        "key that lacks the permission",
        Any,
        Coded(
            403,
            "OperationNotPermitted",
            "You do not have permission to perform this operation (deployment:env:write).",
        ),
    ),
    (
        "forbidden for a reason that is not known",
        Any,
        Coded(403, "NeverHeardOf", "Something is not allowed"),
    ),
    ("key too short", Any, Coded(400, "InvalidHeaderFailure", "Authorization header too short")),
    (
        "key of an unknown scheme",
        Any,
        Coded(400, "InvalidAdminKey", "Unknown authorization scheme"),
    ),
    (
        "key with a strange end",
        Any,
        Coded(400, "HeaderParseFailure", "Could not parse the identity"),
    ),
    (
        "no audit log on this plan, or self-hosted",
        Reading,
        Coded(403, "AuditLogsDisabled", "Audit logs are disabled"),
    ),
    (
        "audit log asked too far back",
        Reading,
        Coded(403, "AuditLogsTooOld", "Audit logs are kept for 90 days"),
    ),
];

pub(crate) const REFUSED: Cases = &[
    (
        "client too old",
        Any,
        Coded(400, "ClientVersionUnsupported", "This client version is no longer supported"),
    ),
    (
        "client without a version",
        Any,
        Coded(400, "InvalidClientVersion", "Could not parse the client version"),
    ),
    (
        "body that is no JSON, misshapen or too large",
        Any,
        Coded(400, "BadJsonBody", "Failed to parse the request body"),
    ),
    ("query string without a field", Reading, Coded(400, "BadQueryArgs", "missing field `window`")),
    ("`k` out of range", Reading, Coded(400, "InvalidTopKParameter", "k must be between 1 and 25")),
    (
        "audit log asked for too much",
        Reading,
        Coded(400, "LimitOutOfRange", "limit must be between 1 and 100"),
    ),
    (
        "operation on a stopped deployment's files",
        Any,
        Coded(400, "BackendIsNotRunning", "Cannot do this while paused"),
    ),
    ("a refusal that is not known", Any, Coded(400, "NeverHeardOf", "This is not possible")),
    ("refused without a word", Any, Empty(400)),
    ("refused by a proxy", Any, Page(400)),
    ("wrong method", Any, Empty(405)),
    ("conflict", Any, Coded(409, "Conflict", "There is a conflict")),
    ("too large for a proxy", Any, Page(413)),
    ("unknown path, or no such deployment (yet)", Any, Empty(404)),
    ("the same from a proxy", Any, Page(404)),
    ("moved for ever", Any, Empty(301)),
    ("moved for now, as to a page for signing in", Any, Empty(307)),
];

pub(crate) const FLAGS: Cases = &[
    (
        "name of strange characters",
        Write,
        Coded(
            400,
            "EnvironmentVariableNameInvalid",
            "Environment variable names must start with a letter",
        ),
    ),
    (
        "name too long",
        Write,
        Coded(400, "EnvironmentVariableNameTooLong", "Environment variable name is too long"),
    ),
    ("built-in name", Write, Coded(400, "EnvVarNameForbidden", "CONVEX_CLOUD_URL cannot be set")),
    (
        "value too long",
        Write,
        Coded(400, "EnvironmentVariableValueTooLarge", "Environment variable value is too large"),
    ),
    (
        "too many variables",
        Write,
        Coded(400, "EnvVarLimitMet", "Environment variable limit reached"),
    ),
    (
        "variables too large in all",
        Write,
        Coded(400, "EnvVarTotalSizeLimitMet", "Environment variables are too large in total"),
    ),
    (
        "value that the app does not accept",
        Write,
        Coded(400, "InvalidEnvironmentVariable", "ENABLE_X must be \"on\" or \"off\""),
    ),
    (
        "removal of a variable that the app requires",
        Write,
        Coded(400, "RequiredEnvironmentVariable", "ENABLE_X is required"),
    ),
    (
        "auth config that needs a variable",
        Write,
        Coded(
            400,
            "AuthConfigMissingEnvironmentVariable",
            "CLERK_ISSUER is used in auth.config.ts but not set",
        ),
    ),
    (
        "auth config that is wrong",
        Write,
        Coded(400, "InvalidAuthConfig", "The auth config is invalid"),
    ),
    (
        "another write came first",
        Write,
        Coded(503, "OptimisticConcurrencyControlFailure", "Data read or written changed"),
    ),
];

pub(crate) const BUSY: Cases = &[
    (
        "too many calls at once",
        Any,
        Coded(429, "TooManyConcurrentRequests", "Too many concurrent requests"),
    ),
    ("too many writes", Any, Coded(429, "TooManyWrites", "Too many writes per second")),
    ("too much for a proxy", Any, Page(429)),
    ("overloaded: commits", Any, Coded(503, "CommitterFullError", "Too many concurrent commits")),
    ("overloaded: queue", Any, Coded(503, "ExpiredInQueue", "The request waited too long")),
    ("overloaded: functions", Any, Coded(503, "ExecuteFullError", "Too many functions")),
    ("overloaded: workers", Any, Coded(503, "WorkerOverloaded", "The worker is overloaded")),
    (
        "overloaded: no slot in time",
        Any,
        Coded(503, "InitialPermitTimeoutError", "No permit in time"),
    ),
    (
        "overloaded: worker not clean",
        Any,
        Coded(503, "IsolateNotClean", "The isolate is not clean"),
    ),
    (
        "overloaded: no way to the backend",
        Any,
        Coded(503, "UpstreamConnectError", "Could not connect upstream"),
    ),
    (
        "overloaded: subscriptions",
        Any,
        Coded(503, "SubscriptionsWorkerFullError", "Too many subscription updates"),
    ),
    ("overloaded: an index", Any, Coded(503, "SearchIndexTooLarge", "The index is too large")),
    ("overloaded: another index", Any, Coded(503, "VectorIndexTooLarge", "The index is too large")),
    (
        "just restarted: search",
        Any,
        Coded(503, "SearchIndexesUnavailable", "Search indexes are bootstrapping"),
    ),
    (
        "just restarted: vectors",
        Any,
        Coded(503, "VectorIndexesUnavailable", "Vector indexes are bootstrapping"),
    ),
    (
        "just restarted: tables",
        Any,
        Coded(503, "TableSummariesUnavailable", "Table summaries are bootstrapping"),
    ),
    (
        "unavailable for a reason that is not known",
        Any,
        Coded(503, "NeverHeardOf", "Try again later"),
    ),
    ("unavailable, said by a proxy", Any, Page(503)),
    ("unavailable without a word", Any, Empty(503)),
    (
        "internal failure, or shutting down",
        Any,
        Coded(500, "InternalServerError", "Your request couldn't be completed"),
    ),
    ("internal failure, said by a proxy", Any, Page(500)),
    ("bad gateway", Any, Page(502)),
    ("gateway time-out", Any, Page(504)),
    ("the deployment's own time-out", Any, Empty(408)),
    ("gone before the answer", Any, Coded(408, "ClientDisconnected", "Client disconnected")),
    ("at the wrong server", Any, Coded(421, "MisdirectedRequest", "The request was misdirected")),
    ("too early", Any, Coded(425, "TooEarly", "Try again")),
];

pub(crate) const FUNCTIONS: Cases = &[
    (
        "it threw",
        Function,
        Failed("Uncaught Error: boom\n    at handler (../convex/x.ts:3:10)\n", "running"),
    ),
    ("it threw a ConvexError", Function, Thrown("Uncaught ConvexError: {\"code\":\"NO_DATA\"}")),
    ("it failed, and the deployment redacts", Function, Failed("", "running")),
    (
        "missing, or not to be seen",
        Function,
        Failed(
            "Could not find function for 'm:f'. Did you forget to run `npx convex dev`?",
            "running",
        ),
    ),
    (
        "arguments that do not fit",
        Function,
        Failed("ArgumentValidationError: Object is missing the required field `id`.", "running"),
    ),
    (
        "user code too slow",
        Function,
        Failed("Function execution timed out (maximum duration: 1s)", "running"),
    ),
    ("it failed, on an old server", Function, Old("Uncaught Error: boom")),
    (
        "conflict after all of the deployment's own tries",
        Function,
        Coded(
            503,
            "OptimisticConcurrencyControlFailure",
            "Documents read from or written to changed",
        ),
    ),
    (
        "path that cannot be one",
        Function,
        Coded(400, "BadConvexFunctionIdentifier", "m:f: is not a path to a function"),
    ),
    (
        "path without a function",
        Function,
        Coded(400, "MissingIdentifier", "The path has no function"),
    ),
    (
        "component that cannot be one",
        Function,
        Coded(400, "InvalidComponentPath", "The component path is invalid"),
    ),
    (
        "component that is not there",
        Function,
        Coded(400, "ComponentPathNotFound", "The component is not there"),
    ),
    ("unknown format", Function, Coded(400, "BadFormat", "Unknown format")),
    (
        "missing, where the server is set so",
        Function,
        Coded(404, "FunctionPathNotFound", "m:f is not there"),
    ),
    (
        "of another type, where the server is set so",
        Function,
        Coded(404, "FunctionPathWrongType", "m:f is a mutation"),
    ),
];

pub(crate) const STOPPED: Cases = &[
    (
        "paused",
        Function,
        Failed(
            "Cannot run functions while this deployment is paused. Resume the deployment.",
            "paused",
        ),
    ),
    (
        "over the limits of the free plan",
        Function,
        Failed(
            "You have exceeded the free plan limits, so your deployments have been disabled.",
            "disabled",
        ),
    ),
    (
        "over the spending limits",
        Function,
        Failed(
            "You have exceeded your spending limits, so your deployments have been disabled.",
            "disabled",
        ),
    ),
    (
        "over a usage limit",
        Function,
        Failed(
            "This deployment has been disabled because it exceeded a configured usage limit.",
            "disabled",
        ),
    ),
    (
        "suspended",
        Function,
        Failed(
            "Cannot run functions while this deployment is suspended. Please contact support.",
            "suspended",
        ),
    ),
    ("paused, and the deployment redacts", Function, Failed("", "paused")),
    ("disabled, and the deployment redacts", Function, Failed("", "disabled")),
    ("suspended, and the deployment redacts", Function, Failed("", "suspended")),
];

pub(crate) const NO_ANSWER: Cases = &[
    ("nobody listens, as while a self-hosted server starts", Any, NoConnection),
    ("hung up", Any, Answer::Close),
    ("torn", Any, Answer::Reset),
    ("too slow", Any, Hang),
    ("cut off", Any, Half),
    ("something else listens", Any, Garbage),
    ("far too long", Any, TooLong),
    ("a page where a value should be", Any, Page(200)),
];
