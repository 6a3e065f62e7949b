//! Owns the end of a long run by hand: an interrupt drops it in good order, so that whatever it holds is taken down.

use std::process::ExitCode;

/// Runs a program to its end, or until it is interrupted; what went wrong goes to standard error.
pub async fn until_interrupted(run: impl Future<Output = Result<(), String>>) -> ExitCode {
    let ended = tokio::select! {
        ended = run => ended,
        _ = tokio::signal::ctrl_c() => Err(String::from("interrupted")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
