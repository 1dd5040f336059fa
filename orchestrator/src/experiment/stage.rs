//! Where a schedule is carried out: in a running lab, or in a simulated one.

use crate::client::{Client, ClientError, Watch, WatchError};
use crate::report::History;
use samp_model::control::{AgentState, Request, Response};
use samp_model::{Record, Time};
use samp_simulator::VirtualLab;
use samp_sys::clock::monotonic_nanos;
use std::io;
use std::time::Duration;

/// A lab, as a schedule sees it.
pub trait Stage {
    /// Asks for something.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    fn ask(&mut self, request: &Request) -> Result<Response, ClientError>;

    /// Lets the lab go on until `done` finds in its records what it looks for; none when `within` is over before.
    ///
    /// # Errors
    /// Any of [`WatchError`].
    fn wait<T>(
        &mut self,
        within: Duration,
        done: impl FnMut(&History) -> Option<T>,
    ) -> Result<Option<T>, WatchError>;

    /// All that has happened so far.
    fn history(&self) -> &History;

    /// The lab's time.
    fn now(&self) -> Time;

    /// The nodes whose agent or program has died.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    fn dead_nodes(&self) -> Result<Vec<String>, ClientError>;
}

/// A running lab.
#[derive(Debug)]
pub struct RunningLab<'a> {
    /// Who is asked.
    pub client: &'a Client,
    /// Its records.
    pub watch: &'a mut Watch,
}

impl Stage for RunningLab<'_> {
    fn ask(&mut self, request: &Request) -> Result<Response, ClientError> {
        self.client.ask(request)
    }

    fn wait<T>(
        &mut self,
        within: Duration,
        done: impl FnMut(&History) -> Option<T>,
    ) -> Result<Option<T>, WatchError> {
        self.watch.wait(within, done)
    }

    fn history(&self) -> &History {
        self.watch.history()
    }

    fn now(&self) -> Time {
        Time::from_nanos(monotonic_nanos())
    }

    fn dead_nodes(&self) -> Result<Vec<String>, ClientError> {
        let nodes = self.client.status()?.nodes.into_iter();
        Ok(nodes.filter(|node| node.agent == Some(AgentState::Dead)).map(|node| node.name).collect())
    }
}

/// Gets each record as it comes.
type Sink<'a> = dyn FnMut(&Record) -> io::Result<()> + 'a;

/// A simulated lab; `sink` gets each record as it comes.
pub struct SimulatedLab<'a> {
    lab: VirtualLab,
    history: History,
    sink: Box<Sink<'a>>,
}

impl<'a> SimulatedLab<'a> {
    /// This one, from its beginning.
    pub fn new(lab: VirtualLab, sink: impl FnMut(&Record) -> io::Result<()> + 'a) -> Self {
        Self { lab, history: History::default(), sink: Box::new(sink) }
    }

    /// All that has happened, and the lab.
    pub fn into_parts(self) -> (History, VirtualLab) {
        (self.history, self.lab)
    }

    fn take_in(&mut self) -> Result<(), WatchError> {
        for record in self.lab.take_records() {
            (self.sink)(&record).map_err(WatchError::Sink)?;
            self.history.push(record);
        }
        Ok(())
    }
}

impl Stage for SimulatedLab<'_> {
    fn ask(&mut self, request: &Request) -> Result<Response, ClientError> {
        match self.lab.ask(request) {
            Response::Error { message, hint, cause } => Err(ClientError::Refused { message, hint, cause }),
            response => Ok(response),
        }
    }

    fn wait<T>(
        &mut self,
        within: Duration,
        mut done: impl FnMut(&History) -> Option<T>,
    ) -> Result<Option<T>, WatchError> {
        let deadline = self.lab.now() + within;
        loop {
            self.take_in()?;
            if let Some(found) = done(&self.history) {
                return Ok(Some(found));
            }
            if !self.lab.advance(deadline) {
                return Ok(None);
            }
        }
    }

    fn history(&self) -> &History {
        &self.history
    }

    fn now(&self) -> Time {
        self.lab.now()
    }

    /// A simulated node ends only when it is killed.
    fn dead_nodes(&self) -> Result<Vec<String>, ClientError> {
        Ok(Vec::new())
    }
}
