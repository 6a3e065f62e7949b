//! The app's tasks: created once per request key, finished by the clock alone.
//!
//! The state of a task is a function of its creation time and the scenario, so nothing needs to
//! run in the background.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::scenario::TaskOutcome;
use crate::stamps::row_id;

/// A task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id, 32 characters.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The key that makes its creation idempotent.
    pub request_key: Option<String>,
    /// Emulator time.
    pub created_at: Timestamp,
}

/// All tasks, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tasks: Vec<Task>,
    /// How many were ever created, so that no id comes twice.
    created: u64,
}

impl Tasks {
    /// Creates a task, or finds the one created with the same `request_key` before.
    pub fn create(&mut self, name: &str, request_key: Option<&str>, now: Timestamp) -> &Task {
        let same_key =
            |task: &Task| request_key.is_some() && task.request_key.as_deref() == request_key;
        let index = self.tasks.iter().position(same_key).unwrap_or_else(|| {
            self.tasks.push(Task {
                id: row_id(self.created, name),
                name: name.to_owned(),
                request_key: request_key.map(str::to_owned),
                created_at: now,
            });
            self.created += 1;
            self.tasks.len() - 1
        });
        &self.tasks[index]
    }

    /// Removes all tasks; says how many there were.
    pub fn clear(&mut self) -> usize {
        std::mem::take(&mut self.tasks).len()
    }

    /// Finds a task.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.id == id)
    }

    /// All tasks, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter()
    }
}

impl Task {
    /// `pending`, `success` or `failed` at `now`.
    #[must_use]
    pub fn status(&self, outcomes: &BTreeMap<String, TaskOutcome>, now: Timestamp) -> &'static str {
        let is_due = now.duration_since(self.created_at) >= TASK_DURATION;
        match outcomes.get(&self.name) {
            _ if !is_due => "pending",
            None => "success",
            Some(TaskOutcome::Failed) => "failed",
            Some(TaskOutcome::Never) => "pending",
        }
    }
}

/// How long a task takes in emulator time.
pub const TASK_DURATION: SignedDuration = SignedDuration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_key_creates_one_task() {
        let mut tasks = Tasks::default();
        let mut create = |name, key| tasks.create(name, key, Timestamp::UNIX_EPOCH).id.clone();
        let first = create("probe", Some("k1"));
        assert_eq!(create("probe", Some("k1")), first);
        assert_ne!(create("probe", Some("k2")), first);
        assert_ne!(create("probe", None), create("probe", None));
        assert_eq!(tasks.iter().count(), 4);
    }

    #[test]
    fn a_task_ends_after_its_time_as_the_scenario_says() {
        let mut tasks = Tasks::default();
        let outcomes = BTreeMap::from([
            ("bad".to_owned(), TaskOutcome::Failed),
            ("stuck".to_owned(), TaskOutcome::Never),
        ]);
        let start = Timestamp::UNIX_EPOCH;
        let almost = start + TASK_DURATION - SignedDuration::from_millis(1);
        let mut check = |name, status| {
            let task = tasks.create(name, None, start);
            assert_eq!(task.status(&outcomes, almost), "pending");
            assert_eq!(task.status(&outcomes, start + TASK_DURATION), status);
        };
        check("good", "success");
        check("bad", "failed");
        check("stuck", "pending");
    }
}
