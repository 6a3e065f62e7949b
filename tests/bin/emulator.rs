//! The real convex-emulator, built for the tests.
fn main() -> std::process::ExitCode {
    convex_emulator::cli::main()
}
