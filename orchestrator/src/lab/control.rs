//! The control socket's server: JSON lines, any number of clients.

use super::records::{Discarded, RecordLog};
use nix::unistd::geteuid;
use samp_model::control::{Request, Response};
use samp_sys::ancillary::send_fds;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// The longest request, in bytes.
const LINE_MAX: u64 = 64 * 1024;

/// A request for the lab itself, and where the answer goes.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) request: Request,
    pub(super) reply: oneshot::Sender<Answer>,
}

/// What a client gets.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response,
    /// Descriptors that go with the response.
    pub(super) fds: Vec<OwnedFd>,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Answer { response, fds: Vec::new() }
    }
}

/// What every connection needs.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) records: RecordLog,
    /// Told once a client has its answer to [`Request::Down`].
    pub(super) down_answered: mpsc::Sender<()>,
}

impl Server {
    /// Serves until the lab ends.
    pub(super) async fn run(self, listener: UnixListener) {
        /// When descriptors are short, somebody has to hang up first.
        const PAUSE: Duration = Duration::from_millis(100);
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let server = self.clone();
                    tokio::spawn(async move {
                        if let Err(error) = server.serve(stream).await {
                            tracing::debug!(%error, "a client is gone");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn serve(self, stream: UnixStream) -> io::Result<()> {
        let peer = stream.peer_cred()?.uid();
        let (reader, mut writer) = stream.into_split();
        if peer != 0 && peer != geteuid().as_raw() {
            return respond(&mut writer, refusal("this lab belongs to another user", None)).await;
        }
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        loop {
            line.clear();
            (&mut reader).take(LINE_MAX + 1).read_until(b'\n', &mut line).await?;
            if line.is_empty() {
                return Ok(());
            }
            if line.len() as u64 > LINE_MAX {
                return respond(&mut writer, refusal("the request is too long", None)).await;
            }
            match serde_json::from_slice(&line) {
                Ok(Request::Subscribe) => return self.stream_records(reader, writer).await,
                Ok(request) => {
                    let is_down = request == Request::Down;
                    let answer = self.ask(request).await;
                    let told = respond(&mut writer, answer).await;
                    if is_down {
                        // The lab waits for this only once.
                        let _ = self.down_answered.send(()).await;
                    }
                    told?;
                }
                Err(error) => {
                    let hint = "is the client of the same version as the lab?".into();
                    let text = format!("the request is not understood: {error}");
                    respond(&mut writer, refusal(&text, Some(hint))).await?;
                }
            }
        }
    }

    async fn ask(&self, request: Request) -> Answer {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(Command { request, reply }).await;
        match (sent, answer.await) {
            (Ok(()), Ok(answer)) => answer,
            _ => refusal("the lab is ending", None),
        }
    }

    /// All records and then each new one, until the client hangs up.
    async fn stream_records(
        self,
        mut reader: BufReader<OwnedReadHalf>,
        mut writer: OwnedWriteHalf,
    ) -> io::Result<()> {
        let mut records = match self.records.reader() {
            Ok(records) => records,
            Err(Discarded) => {
                let hint = "subscribe right after `samp-lab up`, before there are so many".into();
                let text = "the lab's oldest records are no longer kept";
                return respond(&mut writer, refusal(text, Some(hint))).await;
            }
        };
        respond(&mut writer, Response::Done.into()).await?;
        let mut ignored = [0; 64];
        loop {
            tokio::select! {
                chunk = records.next() => match chunk {
                    Ok(Some(chunk)) => writer.write_all(chunk.as_bytes()).await?,
                    Ok(None) => return Ok(()),
                    Err(Discarded) => return Err(io::Error::other("a subscriber reads too slowly")),
                },
                read = reader.read(&mut ignored) => {
                    if read? == 0 {
                        return Ok(());
                    }
                }
            }
        }
    }
}

fn refusal(message: &str, hint: Option<String>) -> Answer {
    Response::Error { message: message.into(), hint }.into()
}

async fn respond(writer: &mut OwnedWriteHalf, answer: Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(&answer.response)?;
    line.push(b'\n');
    if answer.fds.is_empty() {
        return writer.write_all(&line).await;
    }
    let stream: &UnixStream = writer.as_ref();
    let fds: Vec<_> = answer.fds.iter().map(AsFd::as_fd).collect();
    stream.async_io(Interest::WRITABLE, || send_fds(stream, &line, &fds)).await
}
