//! The operator's program; everything is in [`backendai::cli`].
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    backendai::cli::run(std::env::args_os())
}
