//! Plays many seeds, and shows the smallest form of each that fails:
//!
//! ```text
//! cargo run --release -p samp-simulator --example seeds -- --count 10000
//! cargo run --release -p samp-simulator --example seeds -- --seed 4711 --trace
//! ```

use clap::{Parser, ValueEnum};
use samp_simulator::{Options, Scenario, play, play_seeds, shrink};
use serde::Serialize;
use std::ops::Range;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

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
    let summary = play_all(first..first.saturating_add(count), jobs, arguments.format);
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
        scenario = shrink(&scenario, violation.invariant);
    }
    println!("{}", scenario.describe());
    let outcome = play(&scenario, Options { trace: true, over_the_wire: false });
    outcome.trace.iter().for_each(|line| println!("{line}"));
    if outcome.violation.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn play_all(seeds: Range<u64>, jobs: usize, format: Format) -> Summary {
    let start = Instant::now();
    let (mut summary, mut shown) = (Summary::default(), start);
    let count = seeds.end - seeds.start;
    play_seeds(seeds, jobs, |outcome, failure| {
        summary.seeds += 1;
        summary.steps += outcome.steps;
        summary.virtual_seconds += outcome.duration.as_secs_f64();
        if let Some(failure) = failure {
            summary.failed += 1;
            match format {
                Format::Json => println!("{}", serde_json::to_string(&failure).expect("a failure is JSON")),
                Format::Text => println!("{failure}"),
            }
        }
        if shown.elapsed() > PROGRESS {
            shown = Instant::now();
            eprintln!("{} of {count} seeds, {} failed", summary.seeds, summary.failed);
        }
    });
    summary.seconds = start.elapsed().as_secs_f64();
    summary
}
