//! `report`, with the real program, and what a real browser makes of its page.

use samp_tests::lab::unique_name;
use samp_tests::{Browser, TemporaryFile, samp_lab};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A simulated run in a directory of a test's own.
struct Run(PathBuf);

impl Run {
    fn of(experiment: &str) -> Self {
        let run = Self(std::env::temp_dir().join(format!("samp-{}", unique_name())));
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments").join(experiment);
        let output = Command::new(samp_lab()).arg("sim").arg(file).arg("--out").arg(&run.0).output();
        let output = output.expect("samp-lab starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        run
    }

    fn report(&self, args: &[&str]) -> Output {
        Command::new(samp_lab()).arg("report").arg(&self.0).args(args).output().expect("samp-lab starts")
    }

    /// Standard output of a report that must succeed.
    #[track_caller]
    fn expect(&self, args: &[&str]) -> String {
        let output = self.report(args);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn page(&self) -> PathBuf {
        self.0.join("report.html")
    }

    fn names(&self, dir: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(dir)).expect("a directory");
        entries.map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned()).collect()
    }

    fn browser(&self) -> Browser {
        Browser::start(self.0.join("profile"))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It may hold what an assertion wants to be looked at.
        if !std::thread::panicking() {
            fs::remove_dir_all(&self.0).expect("the run's directory");
        }
    }
}

#[test]
fn a_report_is_a_page_pictures_tables_markdown_and_json() {
    let run = Run::of("handoff.yaml");
    let [svg, csv] = ["svg", "csv"].map(|dir| run.0.join(dir).to_string_lossy().into_owned());
    let text = run.expect(&["--svg", &svg, "--csv", &csv]);
    assert!(text.contains("handoffs: 20, 20 complete") && text.contains("report.html"), "{text}");
    for name in ["map.svg", "waterfall-downlink.svg", "totals.svg", "call-set-up.svg", "handoff-mn1-1.svg"] {
        assert!(run.names("svg").iter().any(|file| file == name), "{name} in {:?}", run.names("svg"));
        let picture = fs::read_to_string(run.0.join("svg").join(name)).expect("a picture");
        // Programs for papers know no custom properties.
        assert!(picture.contains("xmlns=\"http://www.w3.org/2000/svg\"") && !picture.contains("var("));
    }
    let waterfall = fs::read_to_string(run.0.join("csv/waterfall-downlink.csv")).expect("a table");
    let mut rows = waterfall.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = rows.next().expect("a header");
    let total = header.iter().position(|name| *name == "total ms").expect("totals");
    assert_eq!(rows.clone().count(), 20);
    for row in rows {
        let number = |cell: &str| cell.parse::<f64>().unwrap_or(0.0);
        let sum: f64 = row[3..total].iter().map(|cell| number(cell)).sum();
        // The segments tile the total; cells have whole microseconds.
        assert!((sum - number(row[total])).abs() < 0.0005 * header.len() as f64, "{row:?}");
    }
    let markdown = run.expect(&["--format", "markdown"]);
    assert!(markdown.starts_with("## handoff\n") && markdown.contains("| total |"), "{markdown}");
    let json: Value = serde_json::from_str(&run.expect(&["--format", "json"])).expect("JSON");
    assert_eq!((&json["valid"], &json["handoffs"]["n"]), (&json!(true), &json!(20)));
    assert!(json["written"][0].as_str().expect("a path").ends_with("report.html"));
}

#[test]
fn a_single_run_tells_of_its_assertions() {
    let run = Run::of("trace.yaml");
    let markdown = run.expect(&["--format", "markdown"]);
    assert!(markdown.contains("What was asserted"), "{markdown}");
    assert!(markdown.contains("| handoff.complete &#62;= 100% | – | holds |"), "{markdown}");
    let page = fs::read_to_string(run.page()).expect("the page");
    assert!(page.contains("handoff.complete &gt;= 100%"), "the page has them, too");
}

#[test]
fn the_page_works_in_a_browser() {
    let run = Run::of("handoff.yaml");
    run.expect(&[]);
    let mut browser = run.browser();
    browser.prefer(1280, "light");
    browser.open(&run.page(), "#handoff-mn4-2");

    // Of the sequence charts the one that was chosen is seen, and without a choice the first.
    let seen = "[...document.querySelectorAll('.choice')].filter(c => getComputedStyle(c).display != 'none').map(c => c.id)";
    assert_eq!(browser.value(seen), json!(["handoff-mn4-2"]));
    let chart = "document.querySelector('#handoff-mn4-2 svg').getBoundingClientRect().width > 300";
    assert_eq!(browser.value(chart), json!(true));
    let choose = "new Promise(done => { addEventListener('hashchange', () => done(0), { once: true }); document.querySelector('.choices a').click() })";
    browser.value(choose);
    assert_eq!(browser.value(seen), json!(["handoff-mn1-1"]));
    browser.open(&run.page(), "");
    assert_eq!(browser.value(seen), json!(["handoff-mn1-1"]));

    // Each picture has a name and a table; what scrolls can be reached by keyboard.
    let bare = "[...document.querySelectorAll('figure')].filter(f => !f.querySelector('table, p') || !f.querySelector('figcaption')).map(f => f.id)";
    assert_eq!(browser.value(bare), json!([]));
    assert_eq!(
        browser.value("[...document.querySelectorAll('svg')].every(s => s.getAttribute('aria-label'))"),
        json!(true)
    );
    assert_eq!(
        browser.value("[...document.querySelectorAll('.picture, .table')].every(e => e.tabIndex == 0)"),
        json!(true)
    );
    let doubled = "(ids => ids.filter((id, i) => ids.indexOf(id) != i))([...document.querySelectorAll('[id]')].map(e => e.id))";
    assert_eq!(browser.value(doubled), json!([]));
    let dead = "[...document.querySelectorAll('a')].map(a => a.getAttribute('href')).filter(h => !document.getElementById(h.slice(1)))";
    assert_eq!(browser.value(dead), json!([]));

    // Light and dark: as the system prefers, or as was chosen.
    let ground = "getComputedStyle(document.documentElement).backgroundColor";
    let [white, black] = [json!("rgb(255, 255, 255)"), json!("rgb(20, 24, 29)")];
    assert_eq!(browser.value(ground), white);
    browser.value("document.getElementById('theme-dark').click()");
    assert_eq!(browser.value(ground), black);
    browser.prefer(1280, "dark");
    browser.value("document.getElementById('theme-auto').click()");
    assert_eq!(browser.value(ground), black);
    browser.value("document.getElementById('theme-light').click()");
    assert_eq!(browser.value(ground), white);

    // On a phone nothing but pictures and tables scrolls sideways.
    browser.prefer(390, "light");
    assert_eq!(browser.value("document.documentElement.scrollWidth"), json!(390));

    assert_quiet(&browser);
}

#[test]
fn hostile_names_stay_text() {
    const HOSTILE: &str = "</script><script>document.title='taken'</script><img src=//evil.test/x onerror=document.title='taken'>";
    let run = Run::of("transfer.yaml");
    let records = fs::read_to_string(run.0.join("records.jsonl")).expect("records");
    let spiteful = json!(HOSTILE).to_string();
    let word = spiteful.trim_matches('"');
    let records = records
        .replace("\"node\":\"mn3\"", &format!("\"node\":{spiteful}"))
        .replace("INVITE 1", &format!("INVITE {word} 1"))
        .replace("@", word);
    fs::write(run.0.join("records.jsonl"), records).expect("records");
    let svg = run.0.join("svg").to_string_lossy().into_owned();
    run.expect(&["--svg", &svg]);
    let page = fs::read_to_string(run.page()).expect("a page");
    assert!(page.contains("&lt;/script&gt;") && !page.contains("<script") && !page.contains("<img"));
    let mut browser = run.browser();
    browser.open(&run.page(), "");
    assert_eq!(browser.value("document.scripts.length + document.images.length"), json!(0));
    assert_ne!(browser.value("document.title"), json!("taken"));
    assert_quiet(&browser);
    let mut names = run.names("svg");
    names.sort();
    // Handoffs, calls and the map come first.
    for name in names.iter().take(8) {
        browser.open(&run.0.join("svg").join(name), "");
        assert_eq!(browser.value("document.documentElement.tagName"), json!("svg"));
        assert_eq!(browser.value("document.querySelectorAll('script, img').length"), json!(0));
    }
}

#[test]
fn an_experiment_of_many_runs_has_a_page_with_links_to_theirs() {
    let topology = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies/line.yaml");
    let text = format!(
        "topology: {}\nfactors:\n  samp.delta: [20ms, 40ms]\n  wired: {{ slow: {{ links.0.one_way_delay: 9ms }}, fast: {{}} }}\n\
         repetitions: 2\nassert: [ handoff.total.p95 < 1ms ]\n\
         timeline:\n  - handoff: {{ moves: [[mn1, ar2]], interval: 1s }}\n",
        topology.display()
    );
    let file = TemporaryFile::new(&text);
    let run = Run(std::env::temp_dir().join(format!("samp-{}", unique_name())));
    let output = Command::new(samp_lab()).arg("sim").arg(file.path()).arg("--out").arg(&run.0).output();
    let output = output.expect("samp-lab starts");
    // The assertion does not hold.
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let csv = run.0.join("csv").to_string_lossy().into_owned();
    let markdown = run.expect(&["--format", "markdown", "--csv", &csv]);
    assert!(markdown.contains("does NOT hold") && markdown.contains("wired = fast"), "{markdown}");
    let effects = fs::read_to_string(run.0.join("csv/effects.csv")).expect("a table");
    // Each level is compared with the first, over the other factor's levels and all repetitions.
    assert!(effects.contains("wired = fast,slow,\"handoff.total, ms\",4,-"), "{effects}");

    let mut browser = run.browser();
    browser.prefer(1280, "light");
    browser.open(&run.page(), "");
    let lines = "document.querySelectorAll('#figure-levels-wired-handoff-total .line[d]').length";
    assert!(browser.value(lines).as_u64() >= Some(2));
    let links = "[...document.querySelectorAll('.choices a')].map(a => a.getAttribute('href'))";
    let links = browser.value(links);
    let links = links.as_array().expect("links");
    assert_eq!(links.len(), 8, "{links:?}");
    for link in links {
        let page = run.0.join(link.as_str().expect("a path"));
        assert!(fs::read_to_string(page).expect("a page").contains("Sequence charts"));
    }
    browser.value("document.querySelector('.choices a').click()");
    assert_quiet(&browser);
}

/// Nothing was asked for but files, and nothing went wrong.
#[track_caller]
fn assert_quiet(browser: &Browser) {
    let of = |method: &'static str| browser.events.iter().filter(move |event| event["method"] == method);
    let asked: Vec<_> = of("Network.requestWillBeSent")
        .filter_map(|event| event["params"]["request"]["url"].as_str())
        .filter(|url| !url.starts_with("file://") && !url.starts_with("data:") && *url != "about:blank")
        .collect();
    assert_eq!(asked, Vec::<&str>::new());
    for method in ["Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"] {
        let told: Vec<_> = of(method).collect();
        assert!(told.is_empty(), "{told:#?}");
    }
}

#[test]
fn what_is_no_run_is_refused() {
    let output = Command::new(samp_lab()).args(["report", "/nonexistent"]).output().expect("samp-lab starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("/nonexistent/records.jsonl") && told.contains("samp-lab run"), "{told}");
}

#[test]
fn a_topology_that_no_file_makes_is_refused() {
    let run = Run::of("transfer.yaml");
    let topology = fs::read_to_string(run.0.join("topology.json")).expect("a topology");
    fs::write(run.0.join("topology.json"), topology.replace("\"mn3\"", "\"../mn3\"")).expect("a topology");
    let output = run.report(&[]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!run.page().exists());
}

#[test]
fn an_unfinished_run_is_reported_as_invalid() {
    let run = Run::of("transfer.yaml");
    fs::remove_file(run.0.join("summary.json")).expect("a file");
    assert!(run.expect(&["--format", "markdown"]).contains("**Invalid:** the run has not come to its end"));
}

#[test]
fn a_bundle_is_an_archive_that_others_can_read() {
    let run = Run::of("transfer.yaml");
    run.expect(&[]);
    let bundle = run.0.join("bundle.tar.gz");
    let pack = |code: i32| {
        let mut command = Command::new(samp_lab());
        let output =
            command.arg("bundle").arg(&run.0).arg("--out").arg(&bundle).output().expect("samp-lab starts");
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    };
    pack(0);
    let list = Command::new("tar").arg("-tzf").arg(&bundle).output().expect("tar starts");
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    let files: Vec<_> = list.lines().collect();
    assert_eq!(files[0], "bundle.json");
    for wanted in
        ["run/records.jsonl", "run/provenance.json", "inputs/1-transfer.yaml", "inputs/2-grid-small.yaml"]
    {
        assert!(files.contains(&wanted), "{wanted} in {files:?}");
    }
    assert!(!files.contains(&"run/report.html"), "a page is made anew");
    // What is there is another's.
    pack(5);
}

#[test]
fn a_bundle_of_a_simulation_is_reproduced_and_one_that_was_changed_is_not() {
    let run = Run::of("transfer.yaml");
    let pack = |bundle: &Path| {
        let output = Command::new(samp_lab()).arg("bundle").arg(&run.0).arg("--out").arg(bundle).output();
        assert!(output.expect("samp-lab starts").status.success());
    };
    let reproduce = |bundle: &Path, out: &Path| {
        let mut command = Command::new(samp_lab());
        command.args(["reproduce", "--format", "json"]).arg(bundle).arg("--out").arg(out);
        let output = command.output().expect("samp-lab starts");
        let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (output.status.code(), json)
    };
    let scratch = Run(std::env::temp_dir().join(format!("samp-{}", unique_name())));
    fs::create_dir(&scratch.0).expect("a directory");
    let [bundle, out] = ["bundle.tar.gz", "out"].map(|name| scratch.0.join(name));
    pack(&bundle);
    let (code, json) = reproduce(&bundle, &out);
    assert_eq!((code, &json["reproduced"]), (Some(0), &json!(true)), "{json:#}");
    let metrics = json["metrics"].as_array().expect("a list");
    // The simulator does the same every time.
    assert!(metrics.len() > 5 && metrics.iter().all(|metric| metric["difference"] == 0.0), "{json:#}");
    let [first, again] =
        ["first/run", "again/run"].map(|dir| fs::read(out.join(dir).join("records.jsonl")).expect("records"));
    assert_eq!(first, again);

    // As if calls had been set up faster.
    let records = fs::read_to_string(run.0.join("records.jsonl")).expect("records");
    let faster = |line: &str| {
        let mut record: Value = serde_json::from_str(line).expect("a record");
        if let Some(srd) = record["srd"].as_u64() {
            record["srd"] = json!(srd / 3);
        }
        format!("{record}\n")
    };
    fs::write(run.0.join("records.jsonl"), records.lines().map(faster).collect::<String>()).expect("records");
    let [bundle, out] = ["other.tar.gz", "other"].map(|name| scratch.0.join(name));
    pack(&bundle);
    let (code, json) = reproduce(&bundle, &out);
    assert_eq!((code, &json["reproduced"]), (Some(1), &json!(false)));
    let metrics = json["metrics"].as_array().expect("a list");
    let srd = metrics.iter().find(|metric| metric["metric"] == "call.srd").expect("call.srd");
    assert_eq!(srd["reproduced"], json!(false), "{srd:#}");

    fs::write(&bundle, "no archive").expect("a file");
    assert_eq!(reproduce(&bundle, &scratch.0.join("none")).0, Some(3));
    assert!(!scratch.0.join("none.partial").exists());
}
