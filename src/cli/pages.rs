//! `tvsl completions` and `tvsl man`: what shells and `man` can know, generated from the command line itself.

use std::path::PathBuf;

use clap::{Args, Command};

use super::Failure;

/// Print what a shell needs to complete this program's words
///
/// For one user of bash:
/// tvsl completions bash > ~/.local/share/bash-completion/completions/tvsl
#[derive(Args, Debug)]
pub(super) struct Completions {
    /// Which shell
    shell: clap_complete::Shell,
}

/// Write the man pages, one for each subcommand
#[derive(Args, Debug)]
pub(super) struct Man {
    /// Folder that they are written to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(super) fn completions(arguments: &Completions, mut command: Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "tvsl", &mut script);
    super::print(&String::from_utf8_lossy(&script))
}

pub(super) fn man(arguments: &Man, command: Command) -> Result<(), Failure> {
    std::fs::create_dir_all(&arguments.out)
        .and_then(|()| clap_mangen::generate_to(command, &arguments.out))
        .map_err(|error| Failure::Failed(format!("{}: cannot be written: {error}", arguments.out.display())))
}
