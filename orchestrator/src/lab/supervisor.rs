//! The supervisor: process 1 of its lab. Here are both sides of its birth, and its one loop.

use super::agents::{Agents, Said};
use super::apply::Network;
use super::attachment::Air;
use super::control::{Command, Server};
use super::enter::LabNamespaces;
use super::floods::Floods;
use super::links::Links;
use super::mounts;
use super::multicast::{Missed, Multicast};
use super::process;
use super::programs::Programs;
use super::quotas::Quotas;
use super::records::RecordLog;
use super::startup::{Failure, Startup};
use super::state::Lab;
use super::survey;
use crate::cause::chain;
use crate::plan::{Machine, Plan, Route};
use crate::runtime_dir::{Claim, RuntimeDir};
use samp_model::agent::FromAgent;
use samp_model::control::{Progress, Request, Stage};
use samp_model::mobility::Agents as MobilityAgents;
use samp_model::topology::Topology;
use samp_sys::process::{Isolated, spawn_pid1};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, PipeReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};
use tracing_subscriber::EnvFilter;

/// The hidden sub-command that a supervisor's process runs; its one argument is the runtime directory.
pub const SUPERVISOR_COMMAND: &str = "__supervisor";
/// Environment variable with the log filter, in the syntax of [`EnvFilter`]; agents heed it, too.
pub const LOG_FILTER: &str = "SAMP_LAB_LOG";

/// What the supervisor needs to know, in [`RuntimeDir::lab_file`].
#[derive(Serialize, Deserialize)]
struct LabFile<'a> {
    topology: Cow<'a, Topology>,
    machine: Cow<'a, Machine>,
    /// As [`Plan::routes`].
    routes: Vec<Cow<'a, [Route]>>,
}

/// A supervisor that has been started and builds its lab. Dropping this before [`Progress::Up`] ends it.
#[derive(Debug)]
pub struct Launched {
    /// Its process id.
    pub pid: i32,
    /// Readable when it, and with it every process of the lab, has ended.
    pub pidfd: OwnedFd,
    progress: BufReader<PipeReader>,
}

/// Why a supervisor could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Something in the file system.
    #[error("cannot {attempt}")]
    Prepare {
        /// What was attempted.
        attempt: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The process could not be started.
    #[error("cannot start the lab's supervisor")]
    Start(#[source] io::Error),
}

impl LaunchError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            LaunchError::Start(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Some("this machine lets only root create namespaces: use sudo".into())
            }
            _ => None,
        }
    }
}

impl Launched {
    /// Waits for the next report; none when the supervisor has closed the pipe: after [`Progress::Up`] or
    /// [`Progress::Failed`] because it is done, before because it has died.
    ///
    /// # Errors
    /// The pipe cannot be read, or what comes is no report.
    pub fn next_progress(&mut self) -> io::Result<Option<Progress>> {
        let mut line = String::new();
        if self.progress.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&line)?))
    }
}

/// Starts a lab's supervisor, which goes on to build the lab of this topology, whose plan on this machine this is. Its name
/// is that of the claimed directory.
///
/// # Errors
/// The supervisor could not be started; the directory is removed.
pub fn launch(
    claim: Claim,
    topology: &Topology,
    machine: &Machine,
    plan: &Plan,
) -> Result<Launched, LaunchError> {
    let launched = start(&claim, topology, machine, plan);
    if launched.is_err()
        && let Err(error) = claim.dir.remove()
    {
        tracing::warn!(%error, "cannot remove the runtime directory");
    }
    launched
}

fn start(
    claim: &Claim,
    topology: &Topology,
    machine: &Machine,
    plan: &Plan,
) -> Result<Launched, LaunchError> {
    let failed = |attempt| move |source| LaunchError::Prepare { attempt, source };
    let lab = LabFile {
        topology: Cow::Borrowed(topology),
        machine: Cow::Borrowed(machine),
        routes: plan.routes().map(Cow::Borrowed).collect(),
    };
    let lab = serde_json::to_vec(&lab).map_err(io::Error::from).map_err(failed("describe the lab"))?;
    fs::write(claim.dir.lab_file(), lab).map_err(failed("write the lab's description"))?;
    let log = OpenOptions::new().create(true).append(true).open(claim.dir.supervisor_log());
    let log = log.map_err(failed("open the supervisor's log"))?;
    let executable = std::env::current_exe().map_err(failed("find this executable"))?;
    let (reader, writer) = io::pipe().map_err(failed("make a pipe"))?;
    let arguments = [SUPERVISOR_COMMAND.into(), claim.dir.path().into()];
    let inherited = [(0, claim.listener.as_fd()), (1, writer.as_fd()), (2, log.as_fd())];
    let process = spawn_pid1(&executable, &arguments, &inherited, !machine.root);
    let Isolated { pid, pidfd } = process.map_err(LaunchError::Start)?;
    Ok(Launched { pid, pidfd, progress: BufReader::new(reader) })
}

/// Runs the supervisor of the lab with this runtime directory, as [`launch`] starts it: process 1, the control socket
/// at standard input, the progress pipe at standard output. To be called by the sub-command [`SUPERVISOR_COMMAND`].
pub fn run_supervisor(dir: &Path) -> ExitCode {
    let filter = EnvFilter::try_from_env(LOG_FILTER).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .log_internal_errors(false)
        .with_writer(io::stderr)
        .init();
    // It mounts file systems: never in the host's own namespace.
    if std::process::id() != 1 {
        tracing::error!("a supervisor is process 1 of its lab: only `samp-lab up` starts it");
        return ExitCode::FAILURE;
    }
    match supervise(&RuntimeDir::at(dir)) {
        Ok(()) => ExitCode::SUCCESS,
        // The directory stays, for its logs.
        Err(()) => ExitCode::FAILURE,
    }
}

/// The last deed of an orderly end.
fn remove(dir: &RuntimeDir) {
    if let Err(error) = dir.remove() {
        tracing::error!(error = chain(&error), "cannot remove the runtime directory");
    }
}

/// From the first step to the orderly end. A failure has been told to whoever waits, and logged.
fn supervise(dir: &RuntimeDir) -> Result<(), ()> {
    let give_up = |failure: &Failure| {
        tracing::error!(hint = failure.hint, "{}", failure.message);
    };
    let progress = take_progress().map_err(|error| {
        give_up(&Failure::new("cannot use the progress pipe", &error));
    })?;
    let mut pipe = ProgressPipe::new(progress);
    let report = |pipe: &mut ProgressPipe, failure: Failure| {
        give_up(&failure);
        // Whoever waited may be gone.
        let _ = pipe.write(&failure.into());
    };
    let listener = match take_listener() {
        Ok(listener) => listener,
        Err(error) => {
            report(&mut pipe, Failure::new("cannot use the control socket", &error));
            return Err(());
        }
    };
    let built = match build(dir, &mut pipe) {
        Ok(built) => built,
        Err(BuildError::Abandoned) => {
            remove(dir);
            return Ok(());
        }
        Err(error) => {
            let hint =
                error.hint().or_else(|| Some(format!("the log is {}", dir.supervisor_log().display())));
            report(&mut pipe, Failure { hint, ..Failure::new("", &error) });
            return Err(());
        }
    };
    let runtime = match samp_node::start_runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            report(&mut pipe, Failure::new("cannot start the runtime", &error));
            return Err(());
        }
    };
    let end = runtime.block_on(async {
        let mut progress = match pipe.to_async() {
            Ok(progress) => progress,
            Err(error) => {
                report(&mut pipe, Failure::new("cannot go on with the progress pipe", &error));
                return Ok(Err(()));
            }
        };
        // The last end to be closed says that all has been said.
        drop(pipe);
        match run(dir, listener, built, &mut progress).await {
            Err(RunError::Startup(failure)) => {
                give_up(&failure);
                progress.send(&failure.into()).await;
                Ok(Err(()))
            }
            Err(RunError::Io(error)) => {
                progress.send(&Failure::new("the supervisor failed", &error).into()).await;
                Err(error)
            }
            Ok(()) => Ok(Ok(())),
        }
    });
    end.unwrap_or_else(|error: io::Error| {
        give_up(&Failure::new("the supervisor failed", &error));
        Err(())
    })
}

/// The progress pipe.
fn take_progress() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// The control socket. Its place and the pipe's are filled, so that nothing else comes there.
fn take_listener() -> io::Result<UnixListener> {
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    Ok(listener)
}

/// A lab whose network stands.
struct Built {
    topology: Topology,
    plan: Plan,
    network: Network,
    namespaces: LabNamespaces,
    quotas: Quotas,
    executable: PathBuf,
    supervisor_pid: i32,
    seconds: Vec<(Stage, f64)>,
}

#[derive(Debug, thiserror::Error)]
enum BuildError {
    #[error("cannot {attempt}")]
    Prepare {
        attempt: &'static str,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Plan(#[from] crate::plan::PlanError),
    #[error(transparent)]
    Apply(super::apply::ApplyError),
    #[error("whoever waited for the lab is gone")]
    Abandoned,
}

impl BuildError {
    fn hint(&self) -> Option<String> {
        match self {
            BuildError::Plan(error) => error.hint(),
            BuildError::Prepare { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("this machine restricts what user namespaces may do: use sudo".into())
            }
            _ => None,
        }
    }
}

impl From<super::apply::ApplyError> for BuildError {
    fn from(error: super::apply::ApplyError) -> Self {
        match error {
            super::apply::ApplyError::Abandoned(_) => BuildError::Abandoned,
            error => BuildError::Apply(error),
        }
    }
}

/// Makes this process at home in its namespaces, and builds the network.
fn build(dir: &RuntimeDir, pipe: &mut ProgressPipe) -> Result<Built, BuildError> {
    let failed = |attempt| move |source| BuildError::Prepare { attempt, source };
    let lab = fs::read(dir.lab_file()).map_err(failed("read the lab's description"))?;
    let LabFile { topology, machine, routes } = serde_json::from_slice(&lab)
        .map_err(io::Error::from)
        .map_err(failed("understand the lab's description"))?;
    let topology = topology.into_owned();
    // The routes of a city are many; where the directory is in memory, they would stay there twice.
    fs::remove_file(dir.lab_file()).map_err(failed("remove the lab's description"))?;
    let executable = std::env::current_exe().map_err(failed("find this executable"))?;
    // /proc is still the host's: it shows this process under the number that the host knows.
    let proc = File::open("/proc").map_err(failed("open /proc"))?;
    let supervisor_pid = fs::read_link("/proc/self").map_err(failed("find this process"))?;
    let supervisor_pid = supervisor_pid.to_str().and_then(|pid| pid.parse().ok()).unwrap_or(0);
    let routes = routes.into_iter().map(Cow::into_owned).collect();
    let plan = Plan::with_routes(&topology, &machine, routes)?;
    let quotas = Quotas::create(&plan, dir, machine.root).map_err(failed("give servers a CPU quota"))?;
    mounts::make_private().map_err(failed("make mounts private"))?;
    let namespaces = LabNamespaces::open().map_err(failed("open the lab's namespaces"))?;

    let mut seconds: Vec<(Stage, f64)> = Vec::new();
    let mut began = Instant::now();
    let network = Network::apply(&plan, proc, &mut |stage, done, total| {
        if done == total {
            seconds.push((stage, began.elapsed().as_secs_f64()));
            began = Instant::now();
        }
        pipe.stage(stage, done, total)
    })?;
    Ok(Built { topology, plan, network, namespaces, quotas, executable, supervisor_pid, seconds })
}

enum RunError {
    Startup(Failure),
    Io(io::Error),
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        RunError::Io(error)
    }
}

/// How long the answer to [`Request::Down`] may take to a client that does not read.
const FAREWELL: Duration = Duration::from_secs(1);
/// How often it is recorded what the servers with CPU quotas have had.
const ACCOUNT_PERIOD: Duration = Duration::from_secs(1);
/// Messages that wait for the loop at most, of each kind; then whoever sends waits.
const BACKLOG: usize = 1024;

/// Starts the agents and drives the lab until it is told to end.
async fn run(
    dir: &RuntimeDir,
    listener: UnixListener,
    mut built: Built,
    progress: &mut AsyncProgress,
) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut child = signal(SignalKind::child())?;
    let (said_sender, mut said) = mpsc::channel::<Said>(BACKLOG);
    let (missed_sender, mut missed) = mpsc::channel::<Missed>(BACKLOG);
    let (command_sender, mut commands) = mpsc::channel::<Command>(BACKLOG);
    let (answered_sender, mut down_answered) = mpsc::channel::<()>(1);

    let began = tokio::time::Instant::now();
    let failed = |error: &(dyn Error + 'static)| RunError::Startup(Failure::new("", error));
    let misses = std::mem::take(&mut built.network.misses);
    let multicast = Multicast::start(&built.plan, &built.network.namespaces, misses, &missed_sender)
        .map_err(|e| failed(&e))?;
    let mut agents = Agents::new(built.executable, dir, said_sender);
    for (number, plans) in built.plan.processes().enumerate() {
        agents.start(number, plans, &built.network, &built.quotas).map_err(|error| failed(&error))?;
    }
    let programs = Programs::start(&built.plan, &built.network, &built.quotas, dir);
    let programs = programs.map_err(|error| failed(&error))?;
    let links = Links::new(&built.topology);
    let mut lab = Lab {
        dir: dir.clone(),
        air: Air::new(&built.plan),
        mobility: MobilityAgents::new(&built.topology),
        topology: built.topology,
        plan: built.plan,
        network: Box::leak(Box::new(built.network)),
        agents,
        programs,
        quotas: built.quotas,
        multicast,
        records: RecordLog::new(),
        calls: HashMap::new(),
        links,
        floods: Floods::new(),
        probing: Arc::new(Semaphore::new(1)),
        supervisor_pid: built.supervisor_pid,
        namespaces: built.namespaces,
        is_up: false,
    };
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let server = Server::new(command_sender, lab.records.clone(), answered_sender);
    tokio::spawn(server.run(listener));

    let mut startup = Startup::new(&lab, built.seconds, began);
    let mut gaps = samp_node::Timer::new()?;
    let mut account = tokio::time::interval(ACCOUNT_PERIOD);
    // A lab without agents has nothing to wait for.
    progress.send_all(startup.advance(&mut lab).map_err(RunError::Startup)?).await;
    loop {
        tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = progress.abandoned(), if !lab.is_up => break,
            over = gaps.until(lab.next_due()) => {
                over?;
                lab.go_on();
            }
            _ = account.tick(), if lab.is_up => lab.account(),
            // A kernel that asks holds a packet back meanwhile.
            Some(question) = missed.recv() => lab.multicast.answer(&lab.plan, question),
            Some(Command { request, reply }) = commands.recv() => {
                if let Some(survey) = lab.survey(&request) {
                    survey::begin(survey, reply);
                    continue;
                }
                let is_down = request == Request::Down;
                if is_down {
                    // Before the answer, so that the name is free for whoever has it.
                    lab.quotas.end();
                    remove(dir);
                }
                // A client that does not wait for its answer misses it.
                if reply.send(lab.answer(&request)).is_ok() && is_down {
                    let _ = tokio::time::timeout(FAREWELL, down_answered.recv()).await;
                }
                if is_down {
                    return Ok(());
                }
            }
            _ = child.recv() => {
                let deaths = process::reap().into_iter().flat_map(|ended| lab.ended(&ended)).collect::<Vec<_>>();
                for death in deaths {
                    let failure = Startup::death(&lab, &death);
                    if !lab.is_up {
                        return Err(RunError::Startup(failure));
                    }
                    tracing::warn!("{}", failure.message);
                }
            }
            Some((node, message)) = said.recv() => {
                match &message {
                    FromAgent::Ready => lab.agents.ready(node),
                    FromAgent::Record(record) => lab.records.push(record),
                }
                if !lab.is_up {
                    let news = startup.hear(&mut lab, node, &message).map_err(RunError::Startup)?;
                    progress.send_all(news).await;
                }
            }
            () = tokio::time::sleep_until(startup.deadline), if !lab.is_up => {
                return Err(RunError::Startup(startup.late(&lab)));
            }
        }
    }
    lab.quotas.end();
    remove(dir);
    Ok(())
}

/// The progress pipe while the network is built: written from one thread that blocks.
struct ProgressPipe {
    file: File,
    last: Instant,
}

impl ProgressPipe {
    fn new(file: File) -> Self {
        Self { file, last: Instant::now() }
    }

    /// Tells of a step; not of each, where they are fast.
    fn stage(&mut self, stage: Stage, done: usize, total: usize) -> io::Result<()> {
        const AT_MOST_EVERY: Duration = Duration::from_millis(20);
        if done < total && self.last.elapsed() < AT_MOST_EVERY {
            return Ok(());
        }
        self.last = Instant::now();
        self.write(&Progress::Stage { stage, done, total })
    }

    fn write(&mut self, progress: &Progress) -> io::Result<()> {
        let mut line = serde_json::to_vec(progress)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }

    fn to_async(&self) -> io::Result<AsyncProgress> {
        Ok(AsyncProgress { pipe: Some(pipe::Sender::from_file(self.file.try_clone()?)?) })
    }
}

/// The progress pipe afterwards; closed once the lab is up or has failed.
struct AsyncProgress {
    pipe: Option<pipe::Sender>,
}

impl AsyncProgress {
    async fn send(&mut self, progress: &Progress) {
        let Some(pipe) = &mut self.pipe else { return };
        let Ok(mut line) = serde_json::to_vec(progress) else { return };
        line.push(b'\n');
        // Whether somebody still reads is `abandoned`'s business.
        let _ = pipe.write_all(&line).await;
        if matches!(progress, Progress::Up { .. } | Progress::Failed { .. }) {
            self.pipe = None;
        }
    }

    async fn send_all(&mut self, progress: Vec<Progress>) {
        for progress in &progress {
            self.send(progress).await;
        }
    }

    /// Waits until nobody reads any more.
    async fn abandoned(&self) {
        let Some(pipe) = &self.pipe else { return std::future::pending().await };
        // An error here is as good as a hang-up.
        let _ = pipe.ready(Interest::ERROR).await;
    }
}
