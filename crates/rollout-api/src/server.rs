//! Owns the daemon's answer to "how are you": `GET /v1/status`.

use serde::{Deserialize, Serialize};

/// How the daemon is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its version.
    pub version: String,
    /// When this process started.
    pub started_at: String,
    /// Rollouts that have not ended.
    pub live: u64,
    /// Rollouts that have ended.
    pub ended: u64,
    /// How the store does.
    pub store: StoreStatus,
    /// The socket it listens on.
    pub socket: String,
}

/// How the store does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// In one word.
    pub state: StoreWord,
    /// Since when, where it is not `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Why, where it is not `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Rollouts whose flags were put back, or are being, without a record of it so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unrecorded: Vec<String>,
    /// RO0208: rollouts that were damaged on disk and set aside. Nobody drives or watches them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantined: Vec<String>,
    /// What those of them were about of which that could still be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub salvaged: Vec<SalvagedView>,
    /// When this process began a new and empty store, because there was none; absent once there is a rollout in it. After an
    /// installation that is as it should be, on a machine with rollouts a file system is not mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun_at: Option<String>,
}

/// What a quarantined rollout was about: where to look for flags that it may have left on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SalvagedView {
    /// The rollout.
    pub id: String,
    /// Its deployment.
    pub deployment: String,
    /// The flags of its plan; which of them are on is not known.
    pub flags: Vec<String>,
}

/// How the store does, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreWord {
    /// Everything is recorded.
    #[default]
    Ok,
    /// RO0211: the disk is full. Everything is recorded, on the reserve, and nothing is turned on.
    Reserve,
    /// RO0210: nothing is recorded and nothing accepted. Flags are watched, and put back on a breach.
    Failing,
}

impl StoreWord {
    /// True when everything is recorded.
    pub fn is_ok(&self) -> bool {
        *self == Self::Ok
    }
}

impl StoreStatus {
    /// What people should know, in calm lines: the store is not `ok`, or new, or rollouts were set aside.
    pub fn notice(&self) -> Option<String> {
        let begun = self.begun_at.as_ref().map(|at| {
            format!(
                "The store is new: there was none when rolloutd was started, at {at}. If rollouts were running here, the \
                 file system of the state directory may not be mounted, and nobody watches their flags"
            )
        });
        let aside = (!self.quarantined.is_empty()).then(|| {
            let all = self.quarantined_in_words();
            format!("Quarantined, so nobody watches their flags: {all} (RO0208)")
        });
        let lines: Vec<String> = [self.trouble(), begun, aside].into_iter().flatten().collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// Every quarantined rollout, with its deployment and flags where they are known.
    pub fn quarantined_in_words(&self) -> String {
        let words = |id: &String| match self.salvaged.iter().find(|salvaged| salvaged.id == *id) {
            Some(SalvagedView { deployment, flags, .. }) => {
                format!("{id} on {deployment} ({})", flags.join(", "))
            }
            None => id.clone(),
        };
        self.quarantined.iter().map(words).collect::<Vec<_>>().join(", ")
    }

    fn trouble(&self) -> Option<String> {
        let since = self.since.as_deref().unwrap_or("the start");
        let why = self.why.as_deref().unwrap_or("the cause is not known");
        match self.state {
            StoreWord::Ok => None,
            StoreWord::Reserve => Some(format!(
                "The disk is full since {since}: rolloutd records on its reserve and turns nothing on (RO0211): {why}"
            )),
            StoreWord::Failing => {
                let untold = match self.unrecorded.as_slice() {
                    [] => String::new(),
                    ids => format!("; rollbacks without a record so far: {}", ids.join(", ")),
                };
                Some(format!(
                    "Nothing is recorded since {since}, and nothing accepted; flags are watched, and put back on a breach or \
                     by `rolloutctl rollback`. \
                     What is shown is not on disk (RO0210): {why}{untold}"
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_well_needs_no_words() {
        let well = StoreStatus {
            state: StoreWord::Ok,
            since: None,
            why: None,
            unrecorded: vec![],
            quarantined: vec![],
            salvaged: vec![],
            begun_at: None,
        };
        assert_eq!(serde_json::to_string(&well).unwrap(), r#"{"state":"ok"}"#);
        assert_eq!(well.notice(), None);
        let failing = StoreStatus {
            state: StoreWord::Failing,
            since: Some("2026-11-22T06:00:00Z".into()),
            why: Some("sync the journal: Input/output error".into()),
            unrecorded: vec!["r1".into()],
            quarantined: vec![],
            salvaged: vec![],
            begun_at: None,
        };
        let notice = failing.notice().unwrap();
        assert!(notice.contains("since 2026-11-22T06:00:00Z") && notice.ends_with("so far: r1"));
        let new = StoreStatus { begun_at: Some("2026-11-22T06:00:00Z".into()), ..well };
        assert!(new.notice().unwrap().starts_with("The store is new: there was none when"));
        let aside = StoreStatus { quarantined: vec!["r2".into()], ..new };
        assert_eq!(aside.notice().unwrap().lines().count(), 2);
        let flags = vec!["ENABLE_ONE".into(), "ENABLE_TWO".into()];
        let known = SalvagedView { id: "r2".into(), deployment: "production".into(), flags };
        let quarantined = vec!["r2".into(), "r3".into()];
        let aside = StoreStatus { quarantined, salvaged: vec![known], begun_at: None, ..aside };
        let line = "Quarantined, so nobody watches their flags: r2 on production (ENABLE_ONE, ENABLE_TWO), r3 (RO0208)";
        assert_eq!(aside.notice().as_deref(), Some(line));
    }
}
