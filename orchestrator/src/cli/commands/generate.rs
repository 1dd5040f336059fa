//! `completions` and `man`: what packagers want, made of the command line's own description.

use super::super::typed::Typed;
use super::super::{Exit, Failure, Terminal};
use clap::CommandFactory;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::{fs, io};

const NAME: &str = "samp-lab";

/// Prints a shell's completion script.
pub(super) fn completions(terminal: &Terminal, shell: clap_complete::Shell) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Script {
        shell: String,
        script: String,
    }
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), NAME, &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    terminal.show(&Script { shell: shell.to_string(), script }, |made| made.script.clone())?;
    Ok(Exit::Success)
}

/// Prints the manual page of the program, or writes it and those of all commands.
pub(super) fn man(terminal: &Terminal, dir: Option<&Path>) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Page {
        page: String,
    }
    #[derive(Serialize)]
    struct Written {
        written: Vec<PathBuf>,
    }
    let Some(dir) = dir else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(command()).render(&mut page);
        rendered.map_err(|error| Failure::io("write a manual page", &error))?;
        let page = String::from_utf8_lossy(&page).into_owned();
        terminal.show(&Page { page }, |made| made.page.clone())?;
        return Ok(Exit::Success);
    };
    let written = write_pages(dir)
        .map_err(|error| Failure::io(format_args!("write manual pages into {}", dir.display()), &error))?;
    terminal.show(&Written { written }, |made| {
        made.written.iter().map(|path| format!("{}\n", path.display())).collect()
    })?;
    Ok(Exit::Success)
}

fn write_pages(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(dir)?;
    let mut command = command();
    // Gives every command its whole name.
    command.build();
    let mut written = Vec::new();
    for page in std::iter::once(&command).chain(command.get_subcommands()) {
        written.push(clap_mangen::Man::new(page.clone()).generate_to(dir)?);
    }
    Ok(written)
}

/// The command line without what only samp-lab itself calls.
fn command() -> clap::Command {
    let all = Typed::command();
    let visible = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    clap::Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .about(all.get_about().cloned().unwrap_or_default())
        .after_help(all.get_after_help().cloned().unwrap_or_default())
        .subcommand_required(true)
        .args(all.get_arguments().cloned())
        .subcommands(visible)
}
