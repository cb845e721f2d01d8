//! A client of one chunk server that speaks its frames by hand, for what no client of ours would ask.

use proto::frame::{FrameHeader, HEADER_BYTES};
use proto::ids::{ClientId, DiskId, GroupEpoch, Version};
use proto::message::{Reply, ReplyBody, Request, RequestBody};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);

/// How to get at one disk.
#[derive(Debug, Clone)]
pub struct Door {
    pub addr: String,
    pub disk: DiskId,
    pub token: [u8; 32],
}

/// A connection.
pub struct Peer {
    pub stream: TcpStream,
    sequence: u64,
    /// Of every frame.
    pub epoch: GroupEpoch,
}

impl Door {
    /// The pool's secret is in the folder of whoever keeps it.
    pub fn new(addr: &str, disk: &str, data: &std::path::Path) -> Self {
        let text = std::fs::read_to_string(data.join("secrets/pool-token")).unwrap();
        let token = hex::decode(text.trim()).unwrap().try_into().unwrap();
        Self { addr: addr.to_owned(), disk: disk.parse().unwrap(), token }
    }

    pub fn connect(&self) -> std::io::Result<Peer> {
        let stream = TcpStream::connect(&self.addr)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_nodelay(true)?;
        Ok(Peer { stream, sequence: 0, epoch: GroupEpoch(1) })
    }

    /// A connection that the server takes for that of a client.
    pub fn hello(&self, client: ClientId) -> Peer {
        let mut peer = self.connect().unwrap();
        let answer = peer.ask(RequestBody::Hello { token: self.token, client, disk: self.disk });
        assert!(matches!(answer, Some(ReplyBody::Hello(_))), "a hello was answered with {answer:?}");
        peer
    }
}

impl Peer {
    /// The next request's frame.
    pub fn bytes(&mut self, body: RequestBody) -> Vec<u8> {
        self.sequence += 1;
        let request =
            Request { sequence: self.sequence, settled: Version::ZERO, group_epoch: self.epoch, body };
        let encoded = request.encode();
        let mut bytes = encoded.head.to_vec();
        encoded.data.iter().for_each(|data| bytes.extend_from_slice(data));
        bytes
    }

    pub fn ask(&mut self, body: RequestBody) -> Option<ReplyBody> {
        let bytes = self.bytes(body);
        self.send(&bytes)
    }

    /// Sends bytes and waits for an answer; none if the connection ends instead.
    pub fn send(&mut self, bytes: &[u8]) -> Option<ReplyBody> {
        // The server may have hung up already.
        let _ = self.stream.write_all(bytes);
        self.answer().map(|reply| reply.body)
    }

    /// The next answer; none if the connection ends instead. Panics if neither happens.
    #[track_caller]
    pub fn answer(&mut self) -> Option<Reply> {
        let mut header = [0; HEADER_BYTES];
        if let Err(error) = self.stream.read_exact(&mut header) {
            let ended = !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(ended, "neither an answer nor an end in {} s", ANSWER.as_secs());
            return None;
        }
        let header = FrameHeader::decode(&header).unwrap();
        let mut payload = vec![0; header.payload_len as usize];
        self.stream.read_exact(&mut payload).unwrap();
        Some(Reply::decode(&header, &payload.into()).unwrap())
    }
}
