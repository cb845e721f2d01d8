//! VMs as people see them, and how they move from machine to machine.

use super::Shared;
use crate::api::{MigrateVm, RunVm, StopVm, VmView};
use crate::error::{Error, Exit};
use crate::fleet::{DaemonId, DaemonKind, DescribedVm, Door, Settled, Task};
use compute::VmInfo;
use serde::de::DeserializeOwned;
use serde_json::Value;

impl Shared {
    /// Every VM, with the agent that runs it.
    pub fn vms(&self) -> Vec<(DaemonId, VmView)> {
        let seen = self.fleet.seen().into_iter().filter(|seen| seen.silent.is_none());
        seen.flat_map(|seen| {
            let agent = seen.daemon;
            seen.report.vms.into_iter().map(move |vm| {
                let node = agent.node_name.clone();
                (agent.clone(), VmView { node, vm })
            })
        })
        .collect()
    }

    /// A VM by its name: of those that had it, on one machine after the other, the one that runs.
    pub fn find_vm(&self, name: &str) -> Result<(DaemonId, VmView), Error> {
        let mut found: Vec<_> = self.vms().into_iter().filter(|(_, view)| view.vm.name == name).collect();
        let runs = found.iter().position(|(_, view)| view.vm.state.is_running());
        if found.is_empty() {
            return Err(Error::new(
                Exit::NotFound,
                format!("there is no VM named '{name}'; ashlar vm list shows those there are"),
            ));
        }
        Ok(found.swap_remove(runs.unwrap_or(0)))
    }

    pub async fn run_vm(&self, asked: RunVm) -> Result<Value, Error> {
        let agent = self.fleet.find(DaemonKind::Agent, asked.node.as_deref())?;
        let spec = asked.spec;
        // Names are what people move and stop VMs by.
        if let Ok((_, view)) = self.find_vm(&spec.name)
            && view.vm.state.is_running()
        {
            return Err(Error::new(
                Exit::Conflict,
                format!(
                    "a VM named '{0}' runs already, on node '{1}'; stop it first: ashlar vm stop {0}",
                    spec.name, view.node
                ),
            ));
        }
        self.fleet.ask(&agent, Task::RunVm { spec }).await
    }

    pub async fn stop_vm(self, name: String, asked: StopVm) -> Result<Value, Error> {
        let (agent, _) = self.find_vm(&name)?;
        self.fleet.ask(&agent, Task::StopVm { name, deadline_ms: asked.deadline_ms }).await
    }

    /// Moves a running VM to another machine. When this fails, the VM runs where it was, or the error says that
    /// this is not known.
    pub async fn migrate_vm(self, name: String, asked: MigrateVm) -> Result<VmView, Error> {
        let to = &asked.node;
        let (source, view) = self.find_vm(&name)?;
        if !view.vm.state.is_running() {
            return Err(Error::new(
                Exit::Conflict,
                format!("VM '{name}' does not run, so it can't be moved"),
            ));
        }
        let target = self.fleet.find(DaemonKind::Agent, Some(to))?;
        if target == source {
            return Err(Error::new(Exit::Conflict, format!("VM '{name}' runs on node '{to}' already")));
        }
        let kept = |error: Error| {
            let from = &source.node_name;
            let message =
                format!("VM '{name}' was not moved to node '{to}' and goes on on node '{from}': {error}");
            Error::new(error.exit, message)
        };
        let named = || name.clone();
        let described = self.told::<DescribedVm>(&source, Task::DescribeVm { name: named() }).await;
        let DescribedVm { spec, acceleration } = described.map_err(kept)?;
        let ready = self.told::<Door>(&target, Task::ReceiveVm { spec, acceleration }).await;
        let door = ready.map_err(kept)?;
        let sent = self.fleet.ask(&source, Task::SendVm { name: named(), door }).await;
        let moved = match sent {
            Ok(_) => self.told::<VmInfo>(&target, Task::AcceptVm { name: named() }).await,
            Err(error) => {
                // If it does not hear this, it gives up by itself.
                let _ = self.fleet.ask(&target, Task::DiscardVm { name: named() }).await;
                Err(error)
            }
        };
        // Whatever was said, the control plane's record decides where it goes on.
        let settled = self.told::<Settled>(&source, Task::SettleVm { name: named() }).await;
        match (moved, settled) {
            (Ok(vm), Ok(Settled::Moved)) => Ok(VmView { node: target.node_name, vm }),
            (Ok(vm), Err(error)) => {
                tracing::warn!(vm = %name, %error, "a VM has moved, and what it leaves behind is removed later");
                Ok(VmView { node: target.node_name, vm })
            }
            (Err(error), Ok(Settled::Kept)) => Err(kept(error)),
            (Ok(_), Ok(Settled::Kept)) => Err(Error::failed(format!(
                "VM '{name}' goes on on node '{}', although node '{to}' said that it took it over; look at both \
                 agents' logs",
                source.node_name
            ))),
            (Err(error), Ok(Settled::Moved)) => Err(Error::new(
                error.exit,
                format!("VM '{name}' belongs to node '{to}' now, which did not say that it goes on: {error}"),
            )),
            (Err(error), Err(silent)) => Err(Error::new(
                error.exit,
                format!(
                    "VM '{name}' may not have been moved to node '{to}' ({error}), and node '{}' does not say how it \
                     is ({silent}); it goes on by itself on one of the two: ashlar vm list",
                    source.node_name
                ),
            )),
        }
    }

    async fn told<T: DeserializeOwned>(&self, daemon: &DaemonId, task: Task) -> Result<T, Error> {
        let answer = self.fleet.ask(daemon, task).await?;
        serde_json::from_value(answer).map_err(|error| {
            Error::failed(format!("can't understand {daemon} ({error}); is it another version?"))
        })
    }
}
