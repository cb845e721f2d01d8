//! The wire between voters. A pool has one voter in this version, so nothing here is ever called by it; a
//! membership with a peer fails loudly instead of pretending that the peer answered.

use super::{NodeIdOf, TypeConfig};
use crate::error::{ErrorKind, MetaError};
use openraft::BasicNode;
use openraft::error::{InstallSnapshotError, RPCError, RaftError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};

type RpcResult<T, E = RaftError<NodeIdOf>> = Result<T, RPCError<NodeIdOf, BasicNode, E>>;

/// Makes the connection to a peer.
#[derive(Debug, Clone, Default)]
pub struct PeerNetwork;

impl RaftNetworkFactory<TypeConfig> for PeerNetwork {
    type Network = Peer;

    async fn new_client(&mut self, target: NodeIdOf, _node: &BasicNode) -> Peer {
        Peer { target }
    }
}

/// Another voter.
#[derive(Debug)]
pub struct Peer {
    target: NodeIdOf,
}

impl Peer {
    fn unreachable<E: std::error::Error>(&self) -> RPCError<NodeIdOf, BasicNode, E> {
        let message =
            format!("voter {}: this version runs a single voter and has no wire between voters", self.target);
        RPCError::Unreachable(Unreachable::new(&MetaError::new(ErrorKind::Unavailable, message)))
    }
}

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<NodeIdOf>> {
        Err(self.unreachable())
    }

    async fn install_snapshot(
        &mut self,
        _rpc: InstallSnapshotRequest<TypeConfig>,
        _option: RPCOption,
    ) -> RpcResult<InstallSnapshotResponse<NodeIdOf>, RaftError<NodeIdOf, InstallSnapshotError>> {
        Err(self.unreachable())
    }

    async fn vote(
        &mut self,
        _rpc: VoteRequest<NodeIdOf>,
        _option: RPCOption,
    ) -> RpcResult<VoteResponse<NodeIdOf>> {
        Err(self.unreachable())
    }
}
