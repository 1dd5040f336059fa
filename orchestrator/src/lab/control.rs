//! The control socket's server: JSON lines, any number of clients.

use super::records::{Discarded, RecordLog};
use nix::unistd::geteuid;
use samp_model::control::{Cause, Request, Response};
use samp_sys::ancillary::send_fds;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

/// The longest request, in bytes.
const LINE_MAX: u64 = 64 * 1024;

/// Connections at once; the next one waits for its turn. It bounds the descriptors that clients can take from the lab.
const CONNECTIONS: usize = 256;

/// Of these so many may be subscribed, so that others always have their turn.
const SUBSCRIBERS: usize = 128;

/// A client that takes longer for its request, or to take its answer, is hung up on.
const PATIENCE: Duration = Duration::from_secs(5);

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
    /// How many may still subscribe.
    pub(super) subscribers: Arc<Semaphore>,
}

impl Server {
    /// For a lab that hears of the commands.
    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        records: RecordLog,
        down_answered: mpsc::Sender<()>,
    ) -> Self {
        Self { commands, records, down_answered, subscribers: Arc::new(Semaphore::new(SUBSCRIBERS)) }
    }

    /// Serves until the lab ends.
    pub(super) async fn run(self, listener: UnixListener) {
        /// When descriptors are short, somebody has to hang up first.
        const PAUSE: Duration = Duration::from_millis(100);
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            // It fails when the semaphore is closed, and nobody closes it.
            let permit = Arc::clone(&connections).acquire_owned().await;
            match listener.accept().await {
                Ok((stream, _)) => {
                    let server = self.clone();
                    tokio::spawn(async move {
                        let _permit = permit;
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
            let message = "this lab belongs to another user".into();
            let refusal = Response::Error { message, hint: None, cause: Cause::Missing };
            return respond(&mut writer, refusal.into()).await;
        }
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        loop {
            line.clear();
            timeout(PATIENCE, (&mut reader).take(LINE_MAX + 1).read_until(b'\n', &mut line)).await??;
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
        let Ok(_permit) = self.subscribers.try_acquire() else {
            return respond(&mut writer, refusal("the lab has too many subscribers", None)).await;
        };
        let mut records = self.records.reader();
        respond(&mut writer, Response::Records { discarded: records.passed() }.into()).await?;
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
    Response::Error { message: message.into(), hint, cause: Cause::Other }.into()
}

async fn respond(writer: &mut OwnedWriteHalf, answer: Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(&answer.response)?;
    line.push(b'\n');
    if answer.fds.is_empty() {
        return timeout(PATIENCE, writer.write_all(&line)).await?;
    }
    let stream: &UnixStream = writer.as_ref();
    let fds: Vec<_> = answer.fds.iter().map(AsFd::as_fd).collect();
    stream.async_io(Interest::WRITABLE, || send_fds(stream, &line, &fds)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use samp_model::{Event, Record, Time};
    use samp_sys::ancillary::recv_fds;
    use std::fs::File;
    use std::io::{BufRead, Write};

    /// A connection to a server whose lab answers [`Request::Enter`] with two descriptors and refuses all else.
    fn connect() -> (std::os::unix::net::UnixStream, RecordLog) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let (commands, mut asked) = mpsc::channel::<Command>(1);
        let (down_answered, _) = mpsc::channel(1);
        let records = RecordLog::new();
        let server = Server::new(commands, records.clone(), down_answered);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::spawn(async move {
                    while let Some(Command { request, reply }) = asked.recv().await {
                        let null = || OwnedFd::from(File::open("/dev/null").unwrap());
                        let answer = match request {
                            Request::Enter { .. } => {
                                Answer { response: Response::Done, fds: vec![null(), null()] }
                            }
                            _ => refusal("no", None),
                        };
                        reply.send(answer).unwrap();
                    }
                });
                // How a connection ends is seen at its other end.
                let _ = server.serve(UnixStream::from_std(theirs).unwrap()).await;
            });
        });
        (ours, records)
    }

    fn ask(stream: &mut std::os::unix::net::UnixStream, line: &[u8]) -> Option<Response> {
        stream.write_all(line).unwrap();
        answer(stream)
    }

    fn answer(stream: &mut std::os::unix::net::UnixStream) -> Option<Response> {
        let mut line = String::new();
        // The reader is dropped with nothing in it: after an answer nothing comes unasked.
        std::io::BufReader::new(&mut *stream).read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    fn message(response: Option<Response>) -> String {
        match response {
            Some(Response::Error { message, .. }) => message,
            other => panic!("{other:?} is no error"),
        }
    }

    #[test]
    fn many_requests_pass_over_one_connection() {
        let (mut stream, _) = connect();
        assert_eq!(message(ask(&mut stream, b"\"status\"\n")), "no");
        assert!(message(ask(&mut stream, b"{\"fly\": {}}\n")).contains("not understood"));
        assert!(message(ask(&mut stream, b"\xff\n")).contains("not understood"));
        assert_eq!(message(ask(&mut stream, b"{\"kill\": {\"node\": \"s1\"}}\n")), "no");
    }

    #[test]
    fn a_line_that_never_ends_ends_the_connection() {
        let (mut stream, _) = connect();
        let long = vec![b' '; LINE_MAX as usize + 1];
        assert!(message(ask(&mut stream, &long)).contains("too long"));
        assert_eq!(answer(&mut stream), None);
    }

    #[test]
    fn descriptors_come_with_the_line() {
        let (mut stream, _) = connect();
        stream.write_all(b"{\"enter\": {\"node\": \"ar1\"}}\n").unwrap();
        let mut line = [0; 64];
        let (length, fds) = recv_fds(&stream, &mut line).unwrap();
        assert_eq!((&line[..length], fds.len()), (&b"\"done\"\n"[..], 2));
    }

    #[test]
    fn a_subscriber_gets_every_record() {
        let (mut stream, records) = connect();
        let record =
            |handoff| Record { at: Time::ZERO, node: "mn1".into(), event: Event::LinkTriggered { handoff } };
        records.push(&record(0));
        stream.write_all(b"\"subscribe\"\n").unwrap();
        let mut lines = std::io::BufReader::new(stream).lines().map(Result::unwrap);
        assert_eq!(lines.next().unwrap(), "{\"records\":{\"discarded\":0}}");
        for handoff in 0..3 {
            records.push(&record(handoff + 1));
            assert_eq!(serde_json::from_str::<Record>(&lines.next().unwrap()).unwrap(), record(handoff));
        }
    }
}
