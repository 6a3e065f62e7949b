//! The real rolloutd, built for the tests.
fn main() {
    rolloutd::main();
}
