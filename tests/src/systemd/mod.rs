//! Owns the product on a machine with a real systemd as PID 1: the machine, and what an operator installs on it.
//!
//! Nothing of it is this machine's: `tests/systemd/boot` gives it namespaces and a root in memory. Only the kernel, the
//! loopback network and, read-only, `/usr` are shared.

mod machine;
mod site;

pub use machine::Machine;
pub use site::Site;
