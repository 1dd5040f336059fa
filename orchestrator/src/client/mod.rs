//! The command line's side of the control protocol: one connection a request.

mod watch;

pub use self::watch::{Interrupter, Watch, WatchError};

use crate::runtime_dir::RuntimeDir;
use samp_model::Record;
use samp_model::control::{LabStatus, Request, Response};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// The longest answer that is believed, in bytes; a status holds the whole topology.
const LONGEST_ANSWER: u64 = 256 << 20;

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
        let mut stream = BufReader::new(self.send(request)?);
        self.answer(&mut stream)
    }

    /// All records from the beginning, then each as it comes, until the lab ends.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub fn records(
        &self,
    ) -> Result<impl Iterator<Item = Result<Record, ClientError>> + Send + use<>, ClientError> {
        let mut stream = BufReader::new(self.send(&Request::Subscribe)?);
        let Response::Done = self.answer(&mut stream)? else { return Err(self.unexpected()) };
        let client = self.clone();
        Ok(stream.split(b'\n').map(move |line| {
            let line = line.map_err(|source| client.broken(source))?;
            serde_json::from_slice(&line).map_err(|_| client.unexpected())
        }))
    }

    /// The descriptors of a node's namespaces, in the order of [`Request::Enter`].
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub fn enter(&self, node: &str) -> Result<Vec<OwnedFd>, ClientError> {
        let stream = self.send(&Request::Enter { node: node.to_owned() })?;
        // The descriptors come with the first bytes of the answer.
        let mut first = [0; 4096];
        let (n, fds) =
            samp_sys::ancillary::recv_fds(&stream, &mut first).map_err(|source| self.broken(source))?;
        match self.answer(&mut BufReader::new(first[..n].chain(stream)))? {
            Response::Done => Ok(fds),
            _ => Err(self.unexpected()),
        }
    }

    fn send(&self, request: &Request) -> Result<UnixStream, ClientError> {
        let mut stream = UnixStream::connect(self.dir.control_socket())
            .map_err(|source| ClientError::Connect { lab: self.lab(), source })?;
        let mut line = serde_json::to_vec(request).map_err(|error| self.broken(error.into()))?;
        line.push(b'\n');
        stream.write_all(&line).map_err(|source| self.broken(source))?;
        Ok(stream)
    }

    fn answer(&self, stream: &mut impl BufRead) -> Result<Response, ClientError> {
        let mut line = Vec::new();
        stream.take(LONGEST_ANSWER).read_until(b'\n', &mut line).map_err(|source| self.broken(source))?;
        if line.is_empty() {
            return Err(self.broken(io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_slice(&line) {
            Ok(Response::Error { message, hint }) => Err(ClientError::Refused { message, hint }),
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
