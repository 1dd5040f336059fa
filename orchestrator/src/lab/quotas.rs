//! The CPU quotas of the SIP servers: a control group for each, below one of the lab's own.
//!
//! They are all that a lab has which does not end with its process 1. A link in the runtime directory leads to them, so
//! that whoever replaces or removes what a lab has left finds them.

use crate::plan::Plan;
use crate::runtime_dir::RuntimeDir;
use samp_model::topology::NodeId;
use samp_sys::cgroup::{CpuController, CpuGroups, CpuUsage};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::time::Duration;

/// The CPU time that a server gets in one period, the least that the kernel takes: so it waits for the next one as short as
/// can be, and is as a slow processor would be.
const QUOTA: Duration = Duration::from_millis(1);

/// A lab's quotas; none without groups.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    groups: Option<CpuGroups>,
    /// The name of each node's group.
    names: BTreeMap<NodeId, String>,
}

impl Quotas {
    /// Makes the groups, before anything is mounted over what shows them.
    pub(super) fn create(plan: &Plan, dir: &RuntimeDir, root: bool) -> io::Result<Self> {
        let (Some(thousandths), false) = (plan.emulation.server_cpu, plan.quotas.is_empty()) else {
            return Ok(Self::default());
        };
        let controller = CpuController::find(root)?;
        let group = dir.group_name();
        dir.note_group(&controller.path(&group))?;
        let groups = controller.create(&group)?;
        let period = QUOTA * 1000 / u32::from(thousandths.get());
        let mut names = BTreeMap::new();
        for &node in &plan.quotas {
            // Never the name of one of the kernel's own files.
            let name = format!("node-{}", plan.namespaces[node.0].name);
            groups.add(&name, QUOTA, period)?;
            names.insert(node, name);
        }
        Ok(Self { groups: Some(groups), names })
    }

    /// What the process of a node enters its group by, if it has one.
    pub(super) fn entrance(&self, node: NodeId) -> io::Result<Option<File>> {
        let group = self.groups.as_ref().zip(self.names.get(&node));
        group.map(|(groups, name)| groups.entrance(name)).transpose()
    }

    /// What each server has had.
    pub(super) fn usage(&self) -> impl Iterator<Item = (NodeId, io::Result<CpuUsage>)> {
        let groups = self.groups.iter().flat_map(|groups| self.names.iter().map(move |it| (groups, it)));
        groups.map(|(groups, (&node, name))| (node, groups.usage(name)))
    }

    /// Ends whoever is in them, and removes them.
    pub(super) fn end(&mut self) {
        if let Some(groups) = self.groups.take()
            && let Err(error) = groups.end()
        {
            tracing::error!(%error, "cannot remove the servers' control groups");
        }
    }
}

impl Drop for Quotas {
    fn drop(&mut self) {
        self.end();
    }
}
