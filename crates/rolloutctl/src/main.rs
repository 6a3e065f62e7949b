//! Entry point.
fn main() {
    rolloutctl::main();
}
