//! One-shot requests to a chunk server: what needs no volume and no lease.

use crate::limits::{ADMIN_TIMEOUT, CONNECT_TIMEOUT};
use crate::{ClientError, Error, ErrorKind};
use bytes::Bytes;
use proto::control::{DiskPlace, PoolToken};
use proto::frame::{FrameHeader, HEADER_BYTES};
use proto::message::{DiskStat, Reply, ReplyBody, Request, RequestBody, VolumeStat};
use proto::{ClientId, GroupEpoch, GroupId, Version, VolumeEpoch, VolumeId};
use rt::rng::{Rng, SystemRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Deletes all of a volume on one disk and fences its writers. Returns when that is durable.
pub async fn delete_volume(
    place: &DiskPlace,
    token: PoolToken,
    volume: VolumeId,
    epoch: VolumeEpoch,
) -> Result<(), ClientError> {
    match ask(place, token, RequestBody::DeleteVolume { volume, epoch }).await? {
        ReplyBody::Ack => Ok(()),
        other => Err(unexpected(place, &other)),
    }
}

/// Has one disk drop what it still holds of groups that it left, each at the epoch at which it is known to be
/// no member. Says which of them are cleared, durably; the disk refuses those it has heard of since.
pub async fn clear_groups(
    place: &DiskPlace,
    token: PoolToken,
    groups: u32,
    left: &[(GroupId, GroupEpoch)],
) -> Result<Vec<GroupId>, ClientError> {
    let talking = async {
        let mut stream = greet(place, token).await?;
        let mut cleared = Vec::new();
        for (sequence, (group, epoch)) in (2..).zip(left) {
            let body = RequestBody::ClearGroup { group: *group, groups };
            match exchange(&mut stream, sequence, *epoch, body).await {
                Ok(ReplyBody::Ack) => cleared.push(*group),
                Ok(other) => return Err(unexpected(place, &other)),
                // The epoch is a former one: whoever asks has to look at the map again.
                Err(error) if error.kind == ErrorKind::Unavailable && !cleared.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(cleared)
    };
    timeout(ADMIN_TIMEOUT, talking).await.map_err(|_| late(place, "asking"))?
}

/// What a volume takes on one disk.
pub async fn volume_stat(
    place: &DiskPlace,
    token: PoolToken,
    volume: VolumeId,
) -> Result<VolumeStat, ClientError> {
    match ask(place, token, RequestBody::VolumeStat { volume }).await? {
        ReplyBody::VolumeStat(stat) => Ok(stat),
        other => Err(unexpected(place, &other)),
    }
}

/// How one disk is doing.
pub async fn disk_stat(place: &DiskPlace, token: PoolToken) -> Result<DiskStat, ClientError> {
    match ask(place, token, RequestBody::DiskStat).await? {
        ReplyBody::DiskStat(stat) => Ok(stat),
        other => Err(unexpected(place, &other)),
    }
}

async fn ask(place: &DiskPlace, token: PoolToken, body: RequestBody) -> Result<ReplyBody, ClientError> {
    let talking = async {
        let mut stream = greet(place, token).await?;
        exchange(&mut stream, 2, GroupEpoch(0), body).await
    };
    timeout(ADMIN_TIMEOUT, talking).await.map_err(|_| late(place, "asking"))?
}

pub(super) fn late(place: &DiskPlace, what: &str) -> ClientError {
    let why = format!("{what} disk {} at {} took too long; is its chunk server up?", place.disk, place.addr);
    Error::new(ErrorKind::Unavailable, why)
}

/// A connection that has shown the token.
pub(super) async fn greet(place: &DiskPlace, token: PoolToken) -> Result<TcpStream, ClientError> {
    let failed = |error| {
        let why = format!("disk {} at {} can't be reached: {error}", place.disk, place.addr);
        Error::caused(ErrorKind::Unavailable, why, error)
    };
    let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(place.addr));
    let mut stream = connecting.await.map_err(|_| late(place, "connecting to"))?.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let hello = RequestBody::Hello { token: token.0, client: ClientId(SystemRng.id()), disk: place.disk };
    match exchange(&mut stream, 1, GroupEpoch(0), hello).await? {
        ReplyBody::Hello(_) => Ok(stream),
        other => Err(unexpected(place, &other)),
    }
}

/// Sends one request and waits for its reply.
pub(super) async fn exchange(
    stream: &mut TcpStream,
    sequence: u64,
    group_epoch: GroupEpoch,
    body: RequestBody,
) -> Result<ReplyBody, ClientError> {
    let request = Request { sequence, settled: Version::ZERO, group_epoch, body };
    let lost =
        |error| Error::caused(ErrorKind::Unavailable, format!("a chunk server hung up: {error}"), error);
    let bad = |error| {
        Error::caused(ErrorKind::Invalid, format!("a chunk server's answer is no frame: {error}"), error)
    };
    stream.write_all(&request.encode().head).await.map_err(lost)?;
    let mut head = [0; HEADER_BYTES];
    stream.read_exact(&mut head).await.map_err(lost)?;
    // Decoding bounds the payload's length before it is allocated.
    let header = FrameHeader::decode(&head).map_err(bad)?;
    let mut payload = vec![0; header.payload_len as usize];
    stream.read_exact(&mut payload).await.map_err(lost)?;
    let reply = Reply::decode(&header, &Bytes::from(payload)).map_err(bad)?;
    match reply.body {
        ReplyBody::Error(error) => Err(error.into()),
        body => Ok(body),
    }
}

pub(super) fn unexpected(place: &DiskPlace, body: &ReplyBody) -> ClientError {
    let why = format!("disk {} answered something else than was asked: {body:?}", place.disk);
    Error::new(ErrorKind::Invalid, why)
}
