//! `tvsl`: arguments in, exit code out.

fn main() -> std::process::ExitCode {
    tvsl::cli::main()
}
