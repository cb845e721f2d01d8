//! Which machine a daemon runs on, and how machines are numbered.

use crate::error::{Error, Exit};
use meta::client::Client;
use meta::record::NodeRecord;
use proto::ids::NodeId;

/// The one machine of an embedded store, and the voter of a control plane of one.
pub const LOCAL: NodeId = NodeId(1);
const LOCAL_NAME: &str = "local";

/// The one machine of an embedded store.
pub fn local() -> NodeRecord {
    NodeRecord { id: LOCAL, name: LOCAL_NAME.to_owned(), zone: LOCAL_NAME.to_owned() }
}

/// The machine of this name. Its number follows from the name, so that its daemons agree on it without asking
/// anybody; two names with one number are refused by [`register`].
pub fn named(name: Option<String>, zone: Option<String>) -> Result<NodeRecord, Error> {
    let name = match name {
        Some(name) => name,
        None => host_name()?,
    };
    let id = if name == LOCAL_NAME { LOCAL } else { NodeId(number(&name)) };
    let zone = zone.unwrap_or_else(|| name.clone());
    Ok(NodeRecord { id, name, zone })
}

/// Makes the control plane know the machine.
pub async fn register(meta: &Client, node: &NodeRecord) -> Result<(), Error> {
    let nodes = meta.nodes().await?;
    if let Some(other) = nodes.iter().find(|other| other.id == node.id && other.name != node.name) {
        return Err(Error::new(
            Exit::Conflict,
            format!("the names '{}' and '{}' give one number; choose another --node", node.name, other.name),
        ));
    }
    if !nodes.contains(node) {
        meta.register_node(node.clone()).await?;
    }
    Ok(())
}

/// FNV-1a: any fixed function of the name does.
fn number(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn host_name() -> Result<String, Error> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => Err(Error::usage("this machine has no name; give one with --node")),
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_always_gives_the_same_number() {
        let node = |name: &str| named(Some(name.to_owned()), None).unwrap();
        assert_eq!(node("local"), local());
        assert_eq!(node("n1"), node("n1"));
        assert_ne!(node("n1").id, node("n2").id);
        assert_eq!(node("n1").id, NodeId(0x08b3_7b07_b558_d4c0));
        assert_eq!(named(Some("a".into()), Some("z".into())).unwrap().zone, "z");
    }
}
