//! Entry point.
fn main() {
    rolloutd::main();
}
