//! Plays many seeds, and shows the smallest form of each that fails:
//!
//! ```text
//! cargo run --release -p samp-simulator --example seeds -- --count 10000
//! cargo run --release -p samp-simulator --example seeds -- --seed 4711 --trace
//! ```

use clap::{Parser, ValueEnum};
use samp_simulator::{Options, Outcome, Scenario, Violation, play, shrink};
use serde::Serialize;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);
/// Plays that finding the smallest form of a failure may take.
const SHRINK_PLAYS: usize = 300;
/// Lines of the shortened trace.
const TRACE_LINES: usize = 60;

/// Plays seeds in the simulator and checks what must hold in every world.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    count: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Plays this seed only.
    #[arg(long, conflicts_with_all = ["count", "first"])]
    seed: Option<u64>,
    /// Prints everything that happens in that seed.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// With --trace: in the smallest form of the seed that fails in the same way.
    #[arg(long, requires = "trace")]
    smallest: bool,
    /// Threads; one a core if not given.
    #[arg(long)]
    jobs: Option<usize>,
    /// How results are printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One object a line: the failures, then a summary.
    Json,
}

/// A seed that fails.
#[derive(Serialize)]
struct Failure {
    seed: u64,
    violation: Violation,
    /// The smallest scenario that fails in this way.
    scenario: String,
    /// The end of what happens in it, without the ring's own talk.
    trace: Vec<String>,
}

#[derive(Default, Serialize)]
struct Summary {
    seeds: u64,
    failed: u64,
    steps: u64,
    virtual_seconds: f64,
    seconds: f64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A panic of a node is a result like others, with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    if let (Some(seed), true) = (arguments.seed, arguments.trace) {
        return trace(seed, arguments.smallest);
    }
    let (first, count) = arguments.seed.map_or((arguments.first, arguments.count), |seed| (seed, 1));
    let jobs = arguments.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let summary = play_all(first, count, jobs, arguments.format);
    match arguments.format {
        Format::Json => println!("{}", serde_json::to_string(&summary).expect("a summary is JSON")),
        Format::Text => {
            let Summary { seeds, failed, steps, virtual_seconds, seconds } = summary;
            println!(
                "{seeds} seeds, {failed} failed: {steps} steps, {virtual_seconds:.0} s of virtual time in {seconds:.1} s"
            );
        }
    }
    if summary.failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Prints everything that happens in a seed.
fn trace(seed: u64, smallest: bool) -> ExitCode {
    let mut scenario = Scenario::of(seed);
    if smallest && let Some(violation) = play(&scenario, Options::default()).violation {
        scenario = shrink(&scenario, violation.invariant, SHRINK_PLAYS);
    }
    println!("{}", scenario.describe());
    let outcome = play(&scenario, Options { trace: true, over_the_wire: false });
    outcome.trace.iter().for_each(|line| println!("{line}"));
    if outcome.violation.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn play_all(first: u64, count: u64, jobs: usize, format: Format) -> Summary {
    let next = AtomicU64::new(first);
    let start = Instant::now();
    let mut summary = Summary::default();
    let mut shown = start;
    thread::scope(|scope| {
        let (results, finished) = mpsc::channel();
        for _ in 0..jobs.max(1) {
            let (next, results) = (&next, results.clone());
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || results.send(play_seed(seed)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        for (outcome, failure) in finished {
            summary.seeds += 1;
            summary.steps += outcome.steps;
            summary.virtual_seconds += outcome.duration.as_secs_f64();
            if let Some(failure) = failure {
                summary.failed += 1;
                show(&failure, format);
            }
            if shown.elapsed() > PROGRESS {
                shown = Instant::now();
                eprintln!("{} of {count} seeds, {} failed", summary.seeds, summary.failed);
            }
        }
    });
    summary.seconds = start.elapsed().as_secs_f64();
    summary
}

fn play_seed(seed: u64) -> (Outcome, Option<Failure>) {
    let scenario = Scenario::of(seed);
    let outcome = play(&scenario, Options::default());
    let failure = outcome.violation.clone().map(|violation| {
        let smallest = shrink(&scenario, violation.invariant, SHRINK_PLAYS);
        let trace = play(&smallest, Options { trace: true, over_the_wire: false }).trace;
        let trace: Vec<_> = trace.into_iter().filter(|line| !line.contains("OVERLAY")).collect();
        let trace = trace[trace.len().saturating_sub(TRACE_LINES)..].to_vec();
        Failure { seed, violation, scenario: smallest.describe(), trace }
    });
    (outcome, failure)
}

fn show(failure: &Failure, format: Format) {
    match format {
        Format::Json => println!("{}", serde_json::to_string(failure).expect("a failure is JSON")),
        Format::Text => {
            let Failure { seed, violation, scenario, trace } = failure;
            println!(
                "seed {seed} fails: {violation}\nthe smallest form of it that fails in this way:\n{scenario}"
            );
            trace.iter().for_each(|line| println!("  {line}"));
            println!("all of it: --seed {seed} --trace, and --smallest for this form of it\n");
        }
    }
}
