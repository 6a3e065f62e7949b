//! The daemon's binary; everything is in the library, so that tests can run the same code.

fn main() {
    rolloutd::main()
}
