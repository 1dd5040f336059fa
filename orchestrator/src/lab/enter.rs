//! Namespaces for whoever enters a node: opened here and given away.

use super::control::Answer;
use super::refusal::Refusal;
use super::state::Lab;
use crate::cause::cause_of;
use samp_model::control::Response;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// The namespaces that all processes of a lab share.
#[derive(Debug)]
pub(super) struct LabNamespaces([File; 3]);

impl LabNamespaces {
    /// Those of the calling process.
    pub(super) fn open() -> io::Result<Self> {
        let open = |name| File::open(format!("/proc/self/ns/{name}"));
        Ok(Self([open("user")?, open("mnt")?, open("pid")?]))
    }
}

impl Lab {
    /// The descriptors of the node's network namespace, and of the lab's user, mount and PID namespaces.
    pub(super) fn enter(&self, node: &str) -> Result<Answer, Refusal> {
        let node = self.find(node, "a node", |_| true)?;
        let LabNamespaces([user, mount, pid]) = &self.namespaces;
        let fds = self.network.namespaces.open(node.0).and_then(|network| {
            let fds = [network.as_fd(), user.as_fd(), mount.as_fd(), pid.as_fd()];
            fds.into_iter().map(|fd| fd.try_clone_to_owned()).collect::<io::Result<Vec<OwnedFd>>>()
        });
        let fds = fds.map_err(|error| Refusal {
            message: format!("cannot open the namespaces of `{}`: {error}", self.name_of(node)),
            hint: None,
            cause: cause_of(&error),
        })?;
        Ok(Answer { response: Response::Done, fds })
    }
}
