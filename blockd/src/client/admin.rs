//! One-shot requests to a chunk server: what needs no volume and no lease.

use crate::limits::{ADMIN_TIMEOUT, CONNECT_TIMEOUT};
use crate::{ClientError, Error, ErrorKind};
use bytes::Bytes;
use proto::control::{DiskPlace, PoolToken};
use proto::frame::{FrameHeader, HEADER_BYTES};
use proto::message::{DiskStat, Reply, ReplyBody, Request, RequestBody, VolumeStat};
use proto::{ClientId, GroupEpoch, Version, VolumeEpoch, VolumeId};
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
    let late = |what: &str| {
        let why =
            format!("{what} disk {} at {} took too long; is its chunk server up?", place.disk, place.addr);
        Error::new(ErrorKind::Unavailable, why)
    };
    let failed = |error| {
        let why = format!("disk {} at {} can't be reached: {error}", place.disk, place.addr);
        Error::caused(ErrorKind::Unavailable, why, error)
    };
    let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(place.addr));
    let mut stream = connecting.await.map_err(|_| late("connecting to"))?.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let hello = RequestBody::Hello { token: token.0, client: ClientId(SystemRng.id()), disk: place.disk };
    let talking = async {
        match exchange(&mut stream, 1, hello).await? {
            ReplyBody::Hello(_) => exchange(&mut stream, 2, body).await,
            other => Err(unexpected(place, &other)),
        }
    };
    timeout(ADMIN_TIMEOUT, talking).await.map_err(|_| late("asking"))?
}

/// Sends one request and waits for its reply.
async fn exchange(
    stream: &mut TcpStream,
    sequence: u64,
    body: RequestBody,
) -> Result<ReplyBody, ClientError> {
    let request = Request { sequence, settled: Version::ZERO, group_epoch: GroupEpoch(0), body };
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

fn unexpected(place: &DiskPlace, body: &ReplyBody) -> ClientError {
    let why = format!("disk {} answered something else than was asked: {body:?}", place.disk);
    Error::new(ErrorKind::Invalid, why)
}
