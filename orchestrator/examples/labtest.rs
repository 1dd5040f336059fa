//! Temporary harness; not to be committed.
use samp_lab::{lab, plan, runtime_dir::RuntimeDir};
use samp_model::control::Progress;
use std::process::ExitCode;
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args[1].as_str() {
        "__agent" => lab::agents::run_agent(),
        "__supervisor" => lab::supervisor::run_supervisor(args[2].as_ref()),
        "plan" => {
            let t = samp_model::topology::load(args[2].as_ref()).unwrap();
            let m = plan::Machine::probe().unwrap();
            print!("{}", plan::Plan::new(&t, &m).unwrap());
            ExitCode::SUCCESS
        }
        "up" => {
            let mut t = samp_model::topology::load(args[2].as_ref()).unwrap();
            if args.get(3).is_some_and(|a| a == "move") {
                t.emulation.attach = samp_model::settings::AttachMode::Move;
            }
            let m = plan::Machine::probe().unwrap();
            plan::Plan::new(&t, &m).unwrap();
            let claim = RuntimeDir::of(&t.name).unwrap().claim().unwrap();
            let began = std::time::Instant::now();
            let mut launched = lab::supervisor::launch(claim, &t, &m).unwrap();
            println!("supervisor {}", launched.pid);
            while let Some(p) = launched.next_progress().unwrap() {
                println!("{:?} {}", began.elapsed(), serde_json::to_string(&p).unwrap());
                if let Progress::Failed { .. } = p {
                    return ExitCode::FAILURE;
                }
            }
            ExitCode::SUCCESS
        }
        "ask" => {
            use std::io::{BufRead, BufReader, Write};
            let mut s =
                std::os::unix::net::UnixStream::connect(RuntimeDir::of(&args[2]).unwrap().control_socket())
                    .unwrap();
            writeln!(s, "{}", args[3]).unwrap();
            let mut lines = BufReader::new(s).lines();
            let n: usize = args.get(4).map_or(1, |n| n.parse().unwrap());
            for line in lines.by_ref().take(n) {
                println!("{}", line.unwrap());
            }
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}
