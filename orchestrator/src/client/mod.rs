//! The command line's side of the control protocol: one connection a request.

mod watch;

pub use self::watch::{Interrupter, Watch, WatchError};

use crate::runtime_dir::RuntimeDir;
use samp_model::Record;
use samp_model::control::{
    Cause, LabStatus, LinkProbes, PROBED_AT_ONCE, ProcessWait, Request, Response, TunnelProbes,
};
use samp_sys::tap::Tap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The longest answer that is believed, in bytes; a status holds the whole topology.
const LONGEST_ANSWER: u64 = 256 << 20;

/// How long a supervisor may take to answer; while it builds its lab it answers nobody.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long probes may be on their way, whatever the links' delays.
const PROBE_PATIENCE: Duration = Duration::from_secs(600);

/// Why a lab did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no such lab, or it has ended.
    #[error("cannot reach lab `{lab}`")]
    Connect {
        /// The lab.
        lab: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error("lost the connection to lab `{lab}`")]
    Broken {
        /// The lab.
        lab: String,
        /// How.
        #[source]
        source: io::Error,
    },
    /// The supervisor said no.
    #[error("{message}")]
    Refused {
        /// Why.
        message: String,
        /// What to do about it.
        hint: Option<String>,
        /// What kind of failure it is.
        cause: Cause,
    },
    /// The supervisor said something else than the protocol allows.
    #[error("lab `{lab}` gave an unexpected answer")]
    Unexpected {
        /// The lab.
        lab: String,
    },
}

/// Who can be asked: a lab, by its control socket.
#[derive(Clone, Debug)]
pub struct Client {
    dir: RuntimeDir,
}

/// A lab's records, as an iterator.
#[derive(Debug)]
pub struct Records {
    client: Client,
    stream: BufReader<UnixStream>,
    discarded: u64,
}

impl Client {
    /// For the lab with this runtime directory; nothing is connected yet.
    pub fn new(dir: RuntimeDir) -> Self {
        Self { dir }
    }

    /// The lab's runtime directory.
    pub fn dir(&self) -> &RuntimeDir {
        &self.dir
    }

    /// The lab as it is now.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub fn status(&self) -> Result<LabStatus, ClientError> {
        match self.ask(&Request::Status)? {
            Response::Status(status) => Ok(*status),
            _ => Err(self.unexpected()),
        }
    }

    /// Sends a request; [`Response::Error`] becomes [`ClientError::Refused`].
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub fn ask(&self, request: &Request) -> Result<Response, ClientError> {
        self.ask_patiently(request, PATIENCE)
    }

    /// Probes [`PROBED_AT_ONCE`] links from the `first` on, or as many as there are.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub fn probe(&self, first: usize) -> Result<Vec<LinkProbes>, ClientError> {
        match self.ask_patiently(&Request::Probe { first, count: PROBED_AT_ONCE }, PROBE_PATIENCE)? {
            Response::Probed(probes) => Ok(probes),
            _ => Err(self.unexpected()),
        }
    }

    /// Probes the tunnels of Mobile IPv6.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub fn probe_tunnels(&self) -> Result<Vec<TunnelProbes>, ClientError> {
        match self.ask_patiently(&Request::ProbeTunnels, PROBE_PATIENCE)? {
            Response::TunnelsProbed(probes) => Ok(probes),
            _ => Err(self.unexpected()),
        }
    }

    /// How long the lab's processes have waited for a processor.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub fn waits(&self) -> Result<Vec<ProcessWait>, ClientError> {
        match self.ask(&Request::Waits)? {
            Response::Waits(waits) => Ok(waits),
            _ => Err(self.unexpected()),
        }
    }

    fn ask_patiently(&self, request: &Request, patience: Duration) -> Result<Response, ClientError> {
        let stream = self.send(request)?;
        stream.set_read_timeout(Some(patience)).map_err(|source| self.broken(source))?;
        self.answer(&mut BufReader::new(stream))
    }

    /// All records that are kept, then each as it comes, until the lab ends.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub fn records(&self) -> Result<Records, ClientError> {
        let mut stream = BufReader::new(self.send(&Request::Subscribe)?);
        let Response::Records { discarded } = self.answer(&mut stream)? else {
            return Err(self.unexpected());
        };
        // Nothing may happen for as long as it likes.
        stream.get_ref().set_read_timeout(None).map_err(|source| self.broken(source))?;
        Ok(Records { client: self.clone(), stream, discarded })
    }

    /// The descriptors of a node's namespaces, in the order of [`Request::Enter`].
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub fn enter(&self, node: &str) -> Result<Vec<OwnedFd>, ClientError> {
        match self.ask_for_descriptors(&Request::Enter { node: node.to_owned() })? {
            (Response::Done, fds) => Ok(fds),
            _ => Err(self.unexpected()),
        }
    }

    /// Taps on the interfaces of a node, or on the one towards a neighbour: each with the interface's name and
    /// link-layer address.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub fn capture(
        &self,
        node: &str,
        towards: Option<String>,
    ) -> Result<Vec<(String, [u8; 6], Tap)>, ClientError> {
        match self.ask_for_descriptors(&Request::Capture { node: node.to_owned(), towards })? {
            (Response::Capture { interfaces }, fds) if interfaces.len() == fds.len() => {
                let taps = interfaces.into_iter().zip(fds);
                Ok(taps.map(|((name, mac), fd)| (name, mac, Tap::from(fd))).collect())
            }
            _ => Err(self.unexpected()),
        }
    }

    fn ask_for_descriptors(&self, request: &Request) -> Result<(Response, Vec<OwnedFd>), ClientError> {
        let stream = self.send(request)?;
        // The descriptors come with the first bytes of the answer.
        let mut first = [0; 4096];
        let (n, fds) =
            samp_sys::ancillary::recv_fds(&stream, &mut first).map_err(|source| self.broken(source))?;
        Ok((self.answer(&mut BufReader::new(first[..n].chain(stream)))?, fds))
    }

    fn send(&self, request: &Request) -> Result<UnixStream, ClientError> {
        let mut stream = UnixStream::connect(self.dir.control_socket())
            .map_err(|source| ClientError::Connect { lab: self.lab(), source })?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|source| self.broken(source))?;
        let mut line = serde_json::to_vec(request).map_err(|error| self.broken(error.into()))?;
        line.push(b'\n');
        match stream.write_all(&line) {
            // Who refuses a client at once says so before it hangs up.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            result => result.map_err(|source| self.broken(source))?,
        }
        Ok(stream)
    }

    fn answer(&self, stream: &mut impl BufRead) -> Result<Response, ClientError> {
        let mut line = Vec::new();
        stream.take(LONGEST_ANSWER).read_until(b'\n', &mut line).map_err(|source| self.broken(source))?;
        if line.is_empty() {
            return Err(self.broken(io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_slice(&line) {
            Ok(Response::Error { message, hint, cause }) => {
                Err(ClientError::Refused { message, hint, cause })
            }
            Ok(response) => Ok(response),
            Err(_) => Err(self.unexpected()),
        }
    }

    fn lab(&self) -> String {
        self.dir.name().to_owned()
    }

    fn broken(&self, source: io::Error) -> ClientError {
        ClientError::Broken { lab: self.lab(), source }
    }

    fn unexpected(&self) -> ClientError {
        ClientError::Unexpected { lab: self.lab() }
    }
}

impl Records {
    /// How many records there were before the first of these, which the lab no longer keeps.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }

    /// The connection, so that another thread can end the iterator by shutting it down.
    fn connection(&self) -> Result<UnixStream, ClientError> {
        self.stream.get_ref().try_clone().map_err(|source| self.client.broken(source))
    }
}

impl Iterator for Records {
    type Item = Result<Record, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_slice(&line).map_err(|_| self.client.unexpected())),
            Err(source) => Some(Err(self.client.broken(source))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::History;
    use samp_model::{Event, Time};
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;
    use std::thread::{self, JoinHandle};

    /// A supervisor that reads one request and says `lines`; then it hangs up, or waits for the client to do so.
    struct Fake {
        path: PathBuf,
        thread: JoinHandle<String>,
    }

    impl Fake {
        fn new(test: &str, lines: Vec<String>, waits: bool) -> (Self, Client) {
            let path = std::env::temp_dir().join(format!("samp-lab-client-{}-{test}", std::process::id()));
            let dir = RuntimeDir::at(&path);
            std::fs::create_dir(&path).unwrap();
            let listener = UnixListener::bind(dir.control_socket()).unwrap();
            let thread = thread::spawn(move || {
                let (stream, _) = listener.accept().unwrap();
                let mut stream = BufReader::new(stream);
                let mut request = String::new();
                stream.read_line(&mut request).unwrap();
                for line in lines {
                    writeln!(stream.get_mut(), "{line}").unwrap();
                }
                if waits {
                    stream.read_to_end(&mut Vec::new()).unwrap();
                }
                request
            });
            (Self { path, thread }, Client::new(dir))
        }

        /// The request that came.
        fn end(self) -> Request {
            std::fs::remove_dir_all(self.path).unwrap();
            serde_json::from_str(&self.thread.join().unwrap()).unwrap()
        }
    }

    fn said(response: &Response) -> String {
        serde_json::to_string(response).unwrap()
    }

    fn record(handoff: u32) -> Record {
        Record {
            at: Time::from_nanos(handoff.into()),
            node: "mn1".into(),
            event: Event::LinkTriggered { handoff },
        }
    }

    fn records(count: u32) -> Vec<String> {
        let records = (0..count).map(|handoff| serde_json::to_string(&record(handoff)).unwrap());
        [said(&Response::Records { discarded: 0 })].into_iter().chain(records).collect()
    }

    #[test]
    fn a_refusal_keeps_its_hint() {
        let refusal =
            Response::Error { message: "no".into(), hint: Some("yes".into()), cause: Cause::Conflict };
        let (fake, client) = Fake::new("refusal", vec![said(&refusal)], true);
        let request = Request::Kill { node: "s1".into() };
        let Err(ClientError::Refused { message, hint, cause }) = client.ask(&request) else {
            panic!("refused")
        };
        assert_eq!((message.as_str(), hint.as_deref(), cause), ("no", Some("yes"), Cause::Conflict));
        assert_eq!(fake.end(), request);
    }

    #[test]
    fn hanging_up_and_nonsense_are_told_apart() {
        let (fake, client) = Fake::new("silence", Vec::new(), false);
        assert!(matches!(client.ask(&Request::Down), Err(ClientError::Broken { .. })));
        fake.end();
        assert!(matches!(client.ask(&Request::Down), Err(ClientError::Connect { .. })));
        let (fake, client) = Fake::new("nonsense", vec!["{}".into()], true);
        assert!(matches!(client.status(), Err(ClientError::Unexpected { .. })));
        fake.end();
    }

    #[test]
    fn a_watch_finds_what_it_waits_for_and_notices_the_end() {
        let (fake, client) = Fake::new("watch", records(3), false);
        let (sender, kept) = std::sync::mpsc::channel();
        let mut watch =
            Watch::start(&client, move |record| sender.send(record.clone()).map_err(io::Error::other))
                .unwrap();
        let third = |history: &History| history.of("mn1").get(2).cloned();
        assert_eq!(watch.wait(PATIENCE, third).unwrap(), Some(record(2)));
        let end = watch.wait(PATIENCE, |_| None::<()>);
        assert!(matches!(end, Err(WatchError::Ended)));
        assert_eq!(kept.try_iter().collect::<Vec<_>>(), [record(0), record(1), record(2)]);
        assert_eq!(fake.end(), Request::Subscribe);
    }

    #[test]
    fn a_watch_can_be_interrupted_and_has_patience() {
        let (fake, client) = Fake::new("interrupt", records(0), true);
        let mut watch = Watch::start(&client, |_| Ok(())).unwrap();
        assert_eq!(watch.wait(Duration::ZERO, |_| Some(7)).unwrap(), Some(7));
        watch.interrupter().interrupt();
        let end = watch.wait(PATIENCE, |_| None::<()>);
        assert!(matches!(end, Err(WatchError::Interrupted)));
        assert!(matches!(watch.wait(PATIENCE, |_| None::<()>), Err(WatchError::Ended)), "and stays so");
        // Dropped, it hangs up.
        drop(watch);
        fake.end();
    }
}
