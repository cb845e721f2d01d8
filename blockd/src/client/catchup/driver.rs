//! Runs a catch-up or a scrub against real servers: a task that owns the core, and one a connection that
//! hears replies.

use super::core::{CatchUpCore, CatchUpReport};
use super::limits::{MAX_PEERS, REPLY_QUEUE, REQUEST_TIMEOUT};
use super::pace::Pace;
use super::progress::Progress;
use super::talk::{Peer, TalkInput, TalkOutput};
use crate::limits::CONNECT_TIMEOUT;
use crate::{Error, ErrorKind};
use bytes::Bytes;
use proto::control::{DiskPlace, PoolToken};
use proto::frame::{FrameHeader, HEADER_BYTES};
use proto::message::{Encoded, Reply};
use proto::{GroupEpoch, GroupId, VolumeEpoch, VolumeId};
use rt::clock::{Clock, Instant, SystemClock};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// One catch-up: of one disk, in one group.
#[derive(Debug, Clone)]
pub struct CatchUpConfig {
    /// The disk that catches up.
    pub target: DiskPlace,
    /// An in-sync member of the group, which it catches up with.
    pub source: DiskPlace,
    /// Other in-sync members: asked for blocks whose copy at the source is bad.
    pub others: Vec<DiskPlace>,
    pub group: GroupId,
    /// The group's epoch, in which the target is catching up.
    pub epoch: GroupEpoch,
    /// Groups of the pool.
    pub groups: u32,
    pub token: PoolToken,
    /// The newest epoch that the control plane gave of each volume, as asked before the run. Joining is right
    /// only if it gave none since.
    pub leases: Vec<(VolumeId, VolumeEpoch)>,
    pub pace: Pace,
    pub progress: Arc<Progress>,
}

impl CatchUpConfig {
    /// All servers, as the core numbers them.
    pub(super) fn places(&self) -> Vec<DiskPlace> {
        let all = [&self.target, &self.source].into_iter().chain(&self.others);
        all.take(MAX_PEERS).cloned().collect()
    }
}

/// Copies to the target all that the source has and it has not, and makes it durable there. Writers may go
/// on meanwhile, as long as they send to the target too.
///
/// When this returns `Ok`, the target may join with the very epoch it was given, if there was no lease since. An error leaves everything
/// as it was, but that some of the copying is done already; `StaleGroupEpoch` comes as `Unavailable`, and
/// wants a new map. Dropping the future ends the run.
pub async fn catch_up(config: CatchUpConfig) -> Result<CatchUpReport, Error> {
    let core = CatchUpCore::new(&config);
    run(core, config.places()).await
}

/// A core that talks to several servers.
pub(crate) trait Run {
    type Report;

    fn step(&mut self, now: Instant, input: TalkInput, out: &mut Vec<TalkOutput<Self::Report>>);

    fn next_deadline(&self) -> Option<Instant>;
}

impl Run for CatchUpCore {
    type Report = CatchUpReport;

    fn step(&mut self, now: Instant, input: TalkInput, out: &mut Vec<TalkOutput<CatchUpReport>>) {
        CatchUpCore::step(self, now, input, out);
    }

    fn next_deadline(&self) -> Option<Instant> {
        CatchUpCore::next_deadline(self)
    }
}

/// What a connection's task tells.
enum News {
    Connected(OwnedWriteHalf),
    Reply(Reply),
    Lost(String),
}

/// Drives `core` until it is done. `places` are its peers.
pub(crate) async fn run<C: Run>(mut core: C, places: Vec<DiskPlace>) -> Result<C::Report, Error> {
    let (sender, mut news) = mpsc::channel(REPLY_QUEUE * places.len());
    // Dropped with this future: it ends the connections.
    let mut tasks = JoinSet::new();
    let mut links: Vec<Option<OwnedWriteHalf>> = places.iter().map(|_| None).collect();
    let (mut out, mut inputs) = (Vec::new(), vec![TalkInput::Tick]);
    loop {
        let now = SystemClock.now();
        for input in inputs.drain(..) {
            core.step(now, input, &mut out);
        }
        let mut frames: Vec<Vec<Encoded>> = places.iter().map(|_| Vec::new()).collect();
        for output in out.drain(..) {
            match output {
                TalkOutput::Connect(peer) => {
                    tasks.spawn(converse(peer, places[peer.0].clone(), sender.clone()));
                }
                TalkOutput::Send(peer, request) => frames[peer.0].push(request.encode()),
                TalkOutput::Done(result) => return result,
            }
        }
        for (peer, frames) in frames.into_iter().enumerate() {
            let Some(link) = links[peer].as_mut().filter(|_| !frames.is_empty()) else { continue };
            let why = match timeout(REQUEST_TIMEOUT, send(link, frames)).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it takes no requests".to_owned(),
            };
            links[peer] = None;
            inputs.push(TalkInput::Disconnected(Peer(peer), why));
        }
        if !inputs.is_empty() {
            continue;
        }
        let wait = core.next_deadline().map(|due| due.since(SystemClock.now()));
        let first = match wait {
            Some(wait) => timeout(wait, news.recv()).await.unwrap_or(None),
            None => news.recv().await,
        };
        let mut next = first;
        while let Some((peer, what)) = next {
            match what {
                News::Connected(link) => {
                    links[peer] = Some(link);
                    inputs.push(TalkInput::Connected(Peer(peer)));
                }
                News::Reply(reply) => inputs.push(TalkInput::Reply(Peer(peer), reply)),
                News::Lost(why) => inputs.push(TalkInput::Disconnected(Peer(peer), why)),
            }
            next = news.try_recv().ok();
        }
        if inputs.is_empty() {
            inputs.push(TalkInput::Tick);
        }
    }
}

/// All that is ready in one write, so that small requests share a segment; data goes from where it lies.
async fn send(link: &mut OwnedWriteHalf, frames: Vec<Encoded>) -> io::Result<()> {
    let mut heads = Vec::new();
    for frame in frames {
        heads.extend_from_slice(&frame.head);
        if !frame.data.is_empty() {
            link.write_all(&heads).await?;
            heads.clear();
            for data in frame.data {
                link.write_all(&data).await?;
            }
        }
    }
    link.write_all(&heads).await
}

/// One connection: makes it, hands its sending half over, and passes replies on until it ends.
async fn converse(peer: Peer, place: DiskPlace, news: mpsc::Sender<(usize, News)>) {
    let why = match connect(&place).await {
        Err(why) => why,
        Ok((mut receiving, sending)) => {
            if news.send((peer.0, News::Connected(sending))).await.is_err() {
                return;
            }
            loop {
                match receive(&mut receiving).await {
                    Ok(reply) => {
                        if news.send((peer.0, News::Reply(reply))).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => break error.to_string(),
                }
            }
        }
    };
    // Nobody wants to know if the run has ended.
    let _ = news.send((peer.0, News::Lost(why))).await;
}

async fn connect(place: &DiskPlace) -> Result<(BufReader<OwnedReadHalf>, OwnedWriteHalf), String> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(place.addr))
        .await
        .map_err(|_| "connecting took too long".to_owned())?
        .map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let (receiving, sending) = stream.into_split();
    Ok((BufReader::with_capacity(1 << 16, receiving), sending))
}

async fn receive(stream: &mut BufReader<OwnedReadHalf>) -> Result<Reply, Error> {
    let lost = |error| Error::caused(ErrorKind::Unavailable, format!("it hung up: {error}"), error);
    let bad = |error| Error::caused(ErrorKind::Invalid, format!("its answer is no frame: {error}"), error);
    let mut head = [0; HEADER_BYTES];
    stream.read_exact(&mut head).await.map_err(lost)?;
    // Decoding bounds the payload's length before it is allocated.
    let header = FrameHeader::decode(&head).map_err(bad)?;
    let mut payload = vec![0; header.payload_len as usize];
    stream.read_exact(&mut payload).await.map_err(lost)?;
    Reply::decode(&header, &Bytes::from(payload)).map_err(bad)
}
