//! Drives rollouts durably: one task owns them all, one thread owns the store, and nothing is answered before it is on disk.
//!
//! [`Engine::open`] loads every live rollout and goes on with it; that is also how a first start works. The order is always
//! decide, append (durable), evolve, reply, perform. Effects are asked of the state ([`rollout_core::Rollout::pending`]), so
//! a crash between any two steps only means that they are asked again.
//!
//! A store that fails ends the engine, or, with [`Engine::open_with`], does not: while a flag is on, the watch goes on without a
//! record, and nothing is done unrecorded but putting flags back (`docs/adr/0012-when-nothing-can-be-recorded.md`).
//!
//! Knows no HTTP and no Convex: the outside is a [`Perform`], time is a [`Clock`].

mod alarms;
mod board;
mod clock;
mod driver;
mod effects;
mod error;
mod handle;
mod reopen;
mod resume;
mod schedule;
pub mod store;

#[cfg(test)]
mod tests;

pub use alarms::{Alarm, pass_alarms_on};
#[cfg(any(test, feature = "testing"))]
pub use clock::ManualClock;
pub use clock::{Clock, Moment, ScaledClock, SystemClock};
pub use driver::{Engine, check_free};
pub use effects::{Perform, Performing};
pub use error::{EngineError, Unrecorded};
pub use handle::{
    Created, EngineStatus, Entry, Handle, NewRollout, Obeyed, Progress, StoreCondition, StoreState,
};
pub use reopen::{OpenStore, Opening, Refilling};
pub use rollout_core::Seq;
pub use schedule::{ScheduleError, check_change_window, next_opening};
