//! A headless browser that is spoken to over a pipe (Chrome DevTools Protocol): what a page does, and what it asks for.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What browsers of this kind are called.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// The browser reads orders from descriptor 3 and answers at descriptor 4.
const PIPES: &str = "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1";

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    profile: PathBuf,
    session: Option<String>,
    last: u64,
    /// What it has told besides answers.
    pub events: Vec<Value>,
}

impl Browser {
    /// Starts one that reaches nothing but files, with a profile in a directory of its own.
    ///
    /// # Panics
    /// There is none, or it does not start.
    pub fn start(profile: PathBuf) -> Self {
        let is_there = |name: &&&str| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
        };
        let name = NAMES.iter().find(is_there).expect("a browser: scripts/test installs chromium");
        let mut process = Command::new("sh")
            .args([
                "-c",
                PIPES,
                name,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-pipe",
            ])
            .args([
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
            ])
            .args(["--no-first-run", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the browser starts");
        let orders = process.stdin.take().expect("a pipe");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut browser =
            Self { process, orders, answers, profile, session: None, last: 0, events: Vec::new() };
        let target = browser.order("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.order("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.order(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Gives an order and returns the answer.
    ///
    /// # Panics
    /// The browser refuses, or has ended.
    pub fn order(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut order = json!({ "id": self.last, "method": method, "params": params });
        if let Some(session) = &self.session {
            order["sessionId"] = session.as_str().into();
        }
        write!(self.orders, "{order}\0").and_then(|()| self.orders.flush()).expect("the browser listens");
        loop {
            let mut message = self.next();
            if message["id"] != self.last {
                self.events.push(message);
                continue;
            }
            assert!(message["error"].is_null(), "{method}: {message}");
            return message["result"].take();
        }
    }

    /// Opens a file, and a part of it, and returns when it is loaded.
    ///
    /// # Panics
    /// As [`Browser::order`].
    pub fn open(&mut self, file: &Path, part: &str) {
        // Another part of the same page would be no load.
        self.load("about:blank");
        self.load(&format!("file://{}{part}", file.display()));
    }

    fn load(&mut self, url: &str) {
        self.events.retain(|event| event["method"] != "Page.loadEventFired");
        self.order("Page.navigate", json!({ "url": url }));
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.next();
            self.events.push(event);
        }
    }

    /// What an expression of JavaScript is worth in the page.
    ///
    /// # Panics
    /// It throws, or as [`Browser::order`].
    pub fn value(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.order("Runtime.evaluate", params);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// The page is so wide from now on, and the user's system prefers light or dark.
    ///
    /// # Panics
    /// As [`Browser::order`].
    pub fn prefer(&mut self, width: u32, scheme: &str) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.order("Emulation.setDeviceMetricsOverride", size);
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.order("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    fn next(&mut self) -> Value {
        let mut message = Vec::new();
        self.answers.read_until(0, &mut message).expect("the browser answers");
        message.pop().expect("the browser has ended");
        serde_json::from_slice(&message).expect("JSON")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It takes its own processes along; all that it leaves is the profile.
        let _ = write!(self.orders, "{}\0", json!({ "id": 0, "method": "Browser.close" }));
        let _ = self.orders.flush();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}
