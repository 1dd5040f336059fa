//! The command line.

fn main() -> std::process::ExitCode {
    samp_lab::cli::main()
}
