//! The emulator as a program; all of it is in the library.

fn main() -> std::process::ExitCode {
    convex_emulator::cli::main()
}
