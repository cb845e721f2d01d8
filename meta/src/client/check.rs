//! Checks of the index.

use super::Client;
use crate::check::{NamingPage, NamingTable, OwnedPage, Place, Recounted};
use crate::command::{Command, Response};
use crate::error::MetaError;
use crate::object::Extent;
use crate::query::{Answer, Query};
use crate::quota::QuotaOf;
use proto::ids::VolumeId;

impl Client {
    /// A page of all that names extents, checked against who owns them.
    pub async fn check_naming(
        &self,
        table: NamingTable,
        after: Option<Place>,
    ) -> Result<NamingPage, MetaError> {
        expect!(self.query(Query::Naming { table, after }).await?, Answer::Naming)
    }

    /// A page of a log's owned extents, checked against what names them.
    pub async fn check_owned(
        &self,
        volume: VolumeId,
        from_bytes: u64,
        limit: u32,
    ) -> Result<OwnedPage, MetaError> {
        expect!(self.query(Query::Owned { volume, from_bytes, limit }).await?, Answer::Owned)
    }

    /// What names the extent of a log that starts here, in words.
    pub async fn extent_owner(&self, volume: VolumeId, offset: u64) -> Result<Option<String>, MetaError> {
        let query = Query::ExtentOwner { volume, offset };
        expect!(self.query(query).await?, Answer::ExtentOwner)
    }

    /// A usage and what it is counted anew, while others go on changing it.
    pub async fn recount(&self, of: QuotaOf) -> Result<Recounted, MetaError> {
        expect!(self.query(Query::Recount(of)).await?, Answer::Recounted)
    }

    /// The same while nothing changes: everybody waits for it. Puts it right if that is asked for.
    pub async fn recount_still(&self, of: QuotaOf, mend: bool) -> Result<Recounted, MetaError> {
        expect!(self.propose(Command::Recount { of, mend }).await?, Response::Recounted)
    }

    /// Has what nobody owns of these extents given back: how many bytes.
    pub async fn reclaim_extents(&self, extents: Vec<Extent>) -> Result<u64, MetaError> {
        match self.propose(Command::ReclaimExtents { extents }).await? {
            Response::Reclaimed { bytes } => Ok(bytes),
            _ => {
                let why = "the control plane's answer is not of reclaimed extents";
                Err(MetaError::new(crate::error::ErrorKind::Corrupt, why))
            }
        }
    }
}
