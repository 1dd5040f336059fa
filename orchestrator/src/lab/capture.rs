//! Taps for whoever captures: opened here, in the node's namespace, and given away.

use super::control::Answer;
use super::refusal::Refusal;
use super::state::Lab;
use crate::cause::cause_of;
use crate::plan::Interface;
use nix::libc;
use samp_model::control::{Cause, LinkName, Response};
use samp_sys::ancillary::MAX_FDS;
use samp_sys::tap::Tap;
use std::io;
use std::os::fd::OwnedFd;

impl Lab {
    /// Taps on the interfaces of a node, or on the one towards a neighbour. In attach mode `move`, an interface that is
    /// elsewhere now is left out.
    pub(super) fn capture(&self, name: &str, towards: Option<&str>) -> Result<Answer, Refusal> {
        let node = self.find(name, "a node", |_| true)?;
        let all = &self.plan.namespaces[node.0].interfaces;
        let wanted: Vec<&Interface> = match towards {
            None => all.iter().collect(),
            Some(other) => {
                let link = LinkName::Wired([name.to_owned(), other.to_owned()]);
                let (link, is_reverse) = self.find_link(&link)?;
                vec![&all[self.plan.links[link][usize::from(is_reverse)].interface]]
            }
        };
        let open = || -> io::Result<Vec<(&Interface, Tap)>> {
            let mut taps = Vec::new();
            for interface in wanted {
                match Tap::open(interface.index) {
                    Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
                    tap => taps.push((interface, tap?)),
                }
            }
            Ok(taps)
        };
        let taps = self.network.namespaces.open(node.0).and_then(|namespace| namespace.run(open)?);
        let taps = taps.map_err(|error| Refusal {
            message: format!("cannot capture at `{name}`: {error}"),
            hint: None,
            cause: cause_of(&error),
        })?;
        if taps.len() > MAX_FDS {
            let message = format!("`{name}` has {} interfaces, {MAX_FDS} can be captured", taps.len());
            let hint = Some("capture the mobile nodes instead, or some of its links".into());
            return Err(Refusal { message, hint, cause: Cause::Exhausted });
        }
        let interfaces =
            taps.iter().map(|(interface, _)| (interface.name.clone(), interface.mac.0)).collect();
        let fds: Vec<OwnedFd> = taps.into_iter().map(|(_, tap)| tap.into()).collect();
        Ok(Answer { response: Response::Capture { interfaces }, fds })
    }
}
