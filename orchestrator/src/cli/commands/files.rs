//! `init`, `schema`, `validate` and `plan`: files, without touching the machine.

use super::super::terminal::print;
use super::super::{Emulation, Exit, Failure, FileKind, Terminal};
use super::resolve;
use samp_model::examples::{EXAMPLES, Example};
use samp_model::experiment::Campaign;
use samp_model::{Topology, examples, experiment, schema as schemas, topology};
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What a valid file holds.
#[derive(Serialize)]
struct Valid<'a> {
    valid: bool,
    file: &'a Path,
    kind: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    topology: Option<PathBuf>,
    access_routers: usize,
    other_routers: usize,
    sip_servers: usize,
    mobile_nodes: usize,
    links: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cells: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repetitions: Option<usize>,
}

/// Lists the examples.
pub(super) fn examples(terminal: &Terminal) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Listed {
        name: &'static str,
        about: &'static str,
        files: Vec<&'static str>,
    }
    let listed = |example: &Example| Listed {
        name: example.name,
        about: example.about,
        files: example.files.iter().map(|file| file.path).collect(),
    };
    terminal.show(&EXAMPLES.iter().map(listed).collect::<Vec<_>>(), |examples| {
        let longest = examples.iter().map(|example| example.name.len()).max().unwrap_or(0);
        let lines = examples.iter().map(|example| format!("{:longest$}  {}\n", example.name, example.about));
        lines.collect::<String>() + "\n`samp-lab init NAME` writes one\n"
    })?;
    Ok(Exit::Success)
}

/// Writes an example with all files that it needs.
pub(super) fn init(terminal: &Terminal, name: &str, dir: &Path, force: bool) -> Result<Exit, Failure> {
    let Some(example) = examples::find(name) else {
        let names = EXAMPLES.iter().map(|example| example.name).collect::<Vec<_>>().join(", ");
        return Err(Failure::new(Exit::Usage, format!("there is no example `{name}`"))
            .hint(format!("there are {names}")));
    };
    let mut missing = Vec::new();
    for file in example.files {
        let path = dir.join(file.path);
        match fs::read(&path) {
            Ok(content) if content == file.text.as_bytes() => {}
            Ok(_) if !force => {
                let message = format!("{} exists, and is not the example's", path.display());
                return Err(Failure::new(Exit::Conflict, message)
                    .hint("name another directory with `--dir`, or overwrite it with `--force`".to_owned()));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::io(format_args!("read {}", path.display()), &error));
            }
            _ => missing.push((path, file.text)),
        }
    }
    for (path, text) in &missing {
        write(path, text, force).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Failure::new(Exit::Conflict, format!("{} has just been created", path.display()))
            }
            _ => Failure::io(format_args!("write {}", path.display()), &error),
        })?;
    }
    #[derive(Serialize)]
    struct Written {
        example: PathBuf,
        written: Vec<PathBuf>,
    }
    let first = example.files.first().map(|file| dir.join(file.path)).unwrap_or_default();
    let written = missing.into_iter().map(|(path, _)| path).collect();
    terminal.show(&Written { example: first, written }, |done| {
        let command = if done.example.starts_with(dir.join("experiments")) { "run" } else { "up" };
        let lines = done.written.iter().map(|path| format!("wrote {}\n", path.display()));
        lines.collect::<String>() + &format!("try it: samp-lab {command} {}\n", done.example.display())
    })?;
    Ok(Exit::Success)
}

fn write(path: &Path, text: &str, force: bool) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let file = if force { File::create(path) } else { File::create_new(path) };
    file?.write_all(text.as_bytes())
}

/// Prints a schema, which is JSON in any case.
pub(super) fn schema(kind: FileKind) -> Result<Exit, Failure> {
    let schema = match kind {
        FileKind::Topology => schemas::topology(),
        FileKind::Experiment => schemas::experiment(),
    };
    print(&format!("{schema:#}\n")).map_err(|error| Failure::io("write to standard output", &error))?;
    Ok(Exit::Success)
}

/// Checks a topology or experiment file.
pub(super) fn validate(terminal: &Terminal, file: &Path) -> Result<Exit, Failure> {
    let valid = if experiment::is_experiment(file) {
        let campaign = Campaign::load(file).map_err(Failure::invalid)?;
        let (experiment, topology) = campaign.first();
        Valid {
            kind: "experiment",
            name: experiment.name.clone(),
            topology: Some(experiment.topology.clone()),
            actions: Some(experiment.schedule(topology).len()),
            cells: Some(campaign.cells.len()),
            repetitions: Some(campaign.repetitions),
            ..count(file, topology)
        }
    } else {
        count(file, &topology::load(file).map_err(Failure::invalid)?)
    };
    terminal.show(&valid, |valid| {
        let mut text = format!("{}: {} `{}`, valid", valid.file.display(), valid.kind, valid.name);
        if let (Some(actions), Some(topology)) = (valid.actions, &valid.topology) {
            text += &format!("; {actions} actions on {}", topology.display());
        }
        if let (Some(cells), Some(repetitions)) = (valid.cells, valid.repetitions)
            && cells * repetitions > 1
        {
            text += &format!(", in {cells} cells, each {repetitions} times");
        }
        text + &format!(
            "\n{} access routers, {} other routers, {} SIP servers, {} mobile nodes, {} links\n",
            valid.access_routers, valid.other_routers, valid.sip_servers, valid.mobile_nodes, valid.links
        )
    })?;
    Ok(Exit::Success)
}

/// Shows everything that `up` would create.
pub(super) fn plan(terminal: &Terminal, file: &Path, emulation: Emulation) -> Result<Exit, Failure> {
    let mut topology = topology::load(file).map_err(Failure::invalid)?;
    let (plan, _) = resolve(&mut topology, emulation)?;
    terminal.show(&plan, ToString::to_string)?;
    Ok(Exit::Success)
}

fn count<'a>(file: &'a Path, topology: &Topology) -> Valid<'a> {
    let access_routers = topology.access_routers().count();
    let sip_servers = topology.sip_servers().count();
    let mobile_nodes = topology.mobile_nodes().count();
    Valid {
        valid: true,
        file,
        kind: "topology",
        name: topology.name.clone(),
        topology: None,
        access_routers,
        other_routers: topology.nodes.len() - access_routers - sip_servers - mobile_nodes,
        sip_servers,
        mobile_nodes,
        links: topology.links.len(),
        actions: None,
        cells: None,
        repetitions: None,
    }
}
