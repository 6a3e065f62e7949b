//! Owns what a deployment says about itself: its name, its kind, its functions.

use serde::Deserialize;

use super::{Response, WireError, parse};
use crate::value::ConvexValue;

/// What kind of deployment it is, as far as it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeploymentKind {
    /// `selfHosted` or `cloud`.
    pub kind: String,
    /// `prod`, `dev`, `preview`; only in the cloud.
    pub deployment_type: Option<String>,
}

/// One function of the app, as it is deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployedFunction {
    /// `dir/module:function`, without `.js`.
    pub path: String,
    /// Its type, in the deployment's word: `Query`, `Mutation`, `Action`.
    pub kind: String,
    /// True when only holders of a key may call it.
    pub is_internal: bool,
}

/// Reads the answer to [`super::Call::InstanceName`] or [`super::Call::ServerVersion`]: one short line of plain text.
///
/// # Errors
///
/// [`WireError`] when it is empty, longer than 200 bytes, or a page of a proxy.
pub fn decode_line(response: &Response) -> Result<String, WireError> {
    let text = std::str::from_utf8(&response.body).unwrap_or_default().trim();
    let is_line = (1..=LINE_BYTES_MAX).contains(&text.len())
        && !text.starts_with('<')
        && !text.chars().any(char::is_control);
    is_line.then(|| text.to_owned()).ok_or(WireError::Unexpected("one line of text"))
}

/// Reads the answer to [`super::Call::DeploymentInfo`].
///
/// # Errors
///
/// [`WireError`] when it names no kind.
pub fn decode_deployment_info(response: &Response) -> Result<DeploymentKind, WireError> {
    let body: InfoBody = parse(response, "a description of the deployment")?;
    Ok(DeploymentKind { kind: body.kind, deployment_type: body.deployment_type })
}

/// Reads the answer to [`super::Call::ApiSpec`] from the query's value, in the order of the paths. HTTP routes are left out.
///
/// # Errors
///
/// [`WireError`] when it is no list.
pub fn decode_functions(value: ConvexValue) -> Result<Vec<DeployedFunction>, WireError> {
    let ConvexValue::List(rows) = value else {
        return Err(WireError::Unexpected("a list of functions"));
    };
    let mut functions: Vec<_> = rows.into_iter().filter_map(deployed_function).collect();
    functions.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(functions)
}

/// The path of a function as plans and the deployment may spell it, in one spelling: no `.js`, a default export by name.
pub fn normal_path(path: &str) -> String {
    let (module, function) = path.split_once(':').unwrap_or((path, "default"));
    format!("{}:{function}", module.strip_suffix(".js").unwrap_or(module))
}

fn deployed_function(row: ConvexValue) -> Option<DeployedFunction> {
    let ConvexValue::Object(mut fields) = row else { return None };
    let (Some(ConvexValue::Text(path)), Some(ConvexValue::Text(kind))) =
        (fields.remove("identifier"), fields.remove("functionType"))
    else {
        return None;
    };
    let is_internal = match fields.remove("visibility") {
        Some(ConvexValue::Object(mut visibility)) => {
            visibility.remove("kind") == Some(ConvexValue::Text(String::from("internal")))
        }
        _ => false,
    };
    Some(DeployedFunction { path: normal_path(&path), kind, is_internal })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InfoBody {
    kind: String,
    #[serde(default)]
    deployment_type: Option<String>,
}

/// Longest answer that is one line: a name, a version.
const LINE_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ok(body: &str) -> Response {
        Response { status: 200, body: body.as_bytes().to_vec(), date: None }
    }

    #[test]
    fn functions_are_listed_in_one_spelling() {
        let rows = json!([
            {"identifier": "m.js:b", "functionType": "Query", "visibility": {"kind": "internal"}},
            {"identifier": "m.js:default", "functionType": "Mutation", "visibility": {"kind": "public"}},
            {"functionType": "HttpAction", "method": "GET", "path": "/x"},
        ]);
        let functions = decode_functions(ConvexValue::decode(rows).unwrap()).unwrap();
        let shown: Vec<_> = functions
            .iter()
            .map(|function| (function.path.as_str(), function.kind.as_str(), function.is_internal))
            .collect();
        assert_eq!(shown, [("m:b", "Query", true), ("m:default", "Mutation", false)]);
        assert!(decode_functions(ConvexValue::Null).is_err());
        for path in ["m", "m.js", "m:default", "m.js:default"] {
            assert_eq!(normal_path(path), "m:default");
        }
    }

    #[test]
    fn a_line_is_a_line() {
        assert_eq!(decode_line(&ok("happy-otter-123\n")).unwrap(), "happy-otter-123");
        for body in ["", "<html>", "a\nb", &"x".repeat(201)] {
            assert!(decode_line(&ok(body)).is_err(), "{body}");
        }
    }
}
