//! A keep-alive connection with one request in flight, on a socket that never blocks.

use super::Target;
use super::answer::Answer;
use super::ask::Ask;
use super::bodies::Bodies;
use super::sign::{EMPTY_SHA256, Head, Signer};
use crate::limits::S3_MAX_TEXT_BYTES;
use crate::machine::now;
use anyhow::{Context, Result, bail};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How uploads are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Payload {
    /// With the body's SHA-256, which the server checks: what the common clients do over plain HTTP.
    Signed,
    /// `UNSIGNED-PAYLOAD`: the server may leave the hash away.
    Unsigned,
}

/// What connections of one thread share.
pub struct Shared {
    pub target: Arc<Target>,
    pub signer: Signer,
    pub bodies: Bodies,
    pub payload: Payload,
    pub buffer: Vec<u8>,
}

pub struct Connection {
    pub stream: TcpStream,
    address: SocketAddr,
    host: String,
    head: Vec<u8>,
    sent: usize,
    asked: Option<Ask>,
    begin: Instant,
    answer: Answer,
    received: usize,
    /// Of answers whose content is not known byte by byte, and of errors.
    text: Vec<u8>,
}

/// A request that was answered.
pub struct Done {
    pub ask: Ask,
    pub latency: Duration,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As it must be, checked.
    Served,
    /// 503: the server is too busy and says so.
    Refused,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        rustix::net::sockopt::set_tcp_quickack(&stream, true)?;
        Ok(Self {
            stream,
            address,
            host: address.to_string(),
            head: Vec::with_capacity(1024),
            sent: 0,
            asked: None,
            begin: now(),
            answer: Answer::default(),
            received: 0,
            text: Vec::new(),
        })
    }

    /// Whether the server has announced that it closes this connection now.
    pub fn is_over(&self) -> bool {
        self.asked.is_none() && self.answer.closes
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins a request, and sends what the socket takes of it.
    pub fn start(&mut self, ask: Ask, shared: &mut Shared) -> Result<()> {
        assert!(self.asked.is_none(), "one request at a time");
        self.begin = now();
        self.head.clear();
        let upload = ask.upload();
        let hash;
        let payload: &[u8] = match (upload, shared.payload) {
            (None, _) => EMPTY_SHA256,
            (Some(_), Payload::Unsigned) => b"UNSIGNED-PAYLOAD",
            (Some(body), Payload::Signed) => {
                hash = shared.bodies.sha256(body);
                &hash
            }
        };
        let (path, query) = (ask.path(&shared.target.bucket), ask.query());
        let head = Head {
            method: ask.method(),
            path: &path,
            query: &query,
            host: &self.host,
            payload,
            body_bytes: upload.map_or(0, |body| body.len_bytes),
        };
        shared.signer.write(&mut self.head, &head);
        (self.sent, self.received) = (0, 0);
        self.answer.reset();
        self.text.clear();
        self.asked = Some(ask);
        self.send(shared)
    }

    /// Goes on where the socket is ready; says so when the answer is whole and as it must be.
    pub fn advance(&mut self, shared: &mut Shared) -> Result<Option<Done>> {
        if self.asked.is_none() {
            return Ok(None);
        }
        self.send(shared)?;
        self.receive(shared)?;
        if !self.answer.is_done() {
            return Ok(None);
        }
        let latency = self.begin.elapsed();
        let ask = self.asked.take().expect("looked at above");
        let outcome = self.judge(&ask)?;
        Ok(Some(Done { ask, latency, outcome }))
    }

    fn judge(&self, ask: &Ask) -> Result<Outcome> {
        let status = self.answer.status;
        if status == 503 {
            return Ok(Outcome::Refused);
        }
        let what = || format!("{} {:?} of {}", ask.method(), ask, self.host);
        if status != ask.status() {
            bail!(
                "{}: status {status} and not {}: {}",
                what(),
                ask.status(),
                String::from_utf8_lossy(&self.text)
            );
        }
        if let Some(body) = ask.download()
            && self.received != body.len_bytes
        {
            bail!("{}: {} bytes and not {}", what(), self.received, body.len_bytes);
        }
        ask.check(&self.text).with_context(what)?;
        Ok(Outcome::Served)
    }

    fn send(&mut self, shared: &Shared) -> Result<()> {
        let upload = self.asked.as_ref().and_then(Ask::upload);
        let (window, stamp, tail) = upload.map_or((&[][..], [0; 16], 0), |body| shared.bodies.parts(body));
        let whole = self.head.len() + window.len() + tail;
        while self.sent < whole && !self.answer.is_done() {
            let mut parts = [self.head.as_slice(), window, &stamp[..tail]].map(IoSlice::new);
            let mut rest = &mut parts[..];
            IoSlice::advance_slices(&mut rest, self.sent);
            match self.stream.write_vectored(rest) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The server may have answered before it had read everything, and closed: its answer says more.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(error).with_context(|| format!("sending to {}", self.host)),
            }
        }
        Ok(())
    }

    fn receive(&mut self, shared: &mut Shared) -> Result<()> {
        let Shared { buffer, bodies, .. } = shared;
        let download = self.asked.as_ref().and_then(Ask::download);
        let Self { answer, received, text, stream, host, .. } = self;
        let mut is_new = false;
        while !answer.is_done() {
            let count = match stream.read(buffer) {
                Ok(0) => {
                    bail!("{host} closed the connection within an answer: {}", String::from_utf8_lossy(text))
                }
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).with_context(|| format!("receiving from {host}")),
            };
            is_new = true;
            answer.take(&buffer[..count], |status, piece| match download {
                Some(body) if status == 200 => {
                    bodies.compare(body, *received, piece)?;
                    *received += piece.len();
                    Ok(())
                }
                _ if text.len() + piece.len() > S3_MAX_TEXT_BYTES => bail!("{host} answers without end"),
                _ => {
                    text.extend_from_slice(piece);
                    Ok(())
                }
            })?;
        }
        if is_new {
            // The kernel leaves this mode by itself; without it a server that sends head and body apart waits for a
            // delayed acknowledgement, 40 ms.
            rustix::net::sockopt::set_tcp_quickack(&self.stream, true)?;
        }
        Ok(())
    }
}
