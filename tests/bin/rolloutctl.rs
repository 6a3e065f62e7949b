//! The real rolloutctl, built for the tests.
fn main() {
    rolloutctl::main();
}
