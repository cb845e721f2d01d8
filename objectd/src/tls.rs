//! HTTPS: a certificate that is exchanged while connections go on, and handshakes that come to an end.
//!
//! The files are looked at now and then instead of being watched by the kernel: that also sees what certificate
//! managers do with symbolic links and mounted folders, and misses nothing when an event does.

use crate::error::{S3Code, S3Error, S3Result};
use crate::limits::{
    DRAIN_TIMEOUT, MAX_PEM_BYTES, REFUSED_DRAIN_BYTES, TLS_HANDSHAKE_TIMEOUT, TLS_LOOK_EVERY,
};
use crate::metrics::Metrics;
use crate::write_guard::WriteGuard;
use rt::clock::{Clock, SystemClock, WallMillis};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// What a TLS connection is made on.
type Socket = WriteGuard<TcpStream>;

/// The first byte of every TLS connection: a handshake record (RFC 8446, 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// What a client that speaks plain HTTP to the TLS port is told.
const PLAIN_TEXT_ANSWER: &str = "HTTP/1.1 400 Bad Request\r\n\
    Content-Type: application/xml\r\nContent-Length: 142\r\nConnection: close\r\n\r\n\
    <?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
    <Error><Code>InvalidRequest</Code><Message>This port speaks HTTPS only; use https://</Message></Error>\n";

/// Where the certificate chain and its key are, as PEM. Both may be in one file, which changes as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's own certificate first.
    pub certificate: PathBuf,
    /// PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub key: PathBuf,
}

/// What HTTPS is served with. TLS 1.2 and 1.3. Dropping it ends the looking at its files.
pub struct Https {
    acceptor: TlsAcceptor,
    identity: Arc<Identity>,
    metrics: Metrics,
    looking: JoinHandle<()>,
}

impl Https {
    /// Loads the certificate, and from then on loads it again whenever its files change: connections that are
    /// there go on, new ones get the new one. Must run on tokio.
    ///
    /// Errors: `InvalidArgument`, if the files can't be read or are not a certificate and its key.
    pub fn load(files: TlsFiles, metrics: Metrics) -> S3Result<Arc<Https>> {
        Self::load_and_look(files, metrics, TLS_LOOK_EVERY)
    }

    fn load_and_look(files: TlsFiles, metrics: Metrics, every: Duration) -> S3Result<Arc<Https>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let identity = Arc::new(Identity::load(files, Arc::clone(&provider))?);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(S3Error::internal)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&identity) as _);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let looking = tokio::spawn(look_again(Arc::clone(&identity), metrics.clone(), every));
        Ok(Arc::new(Https { acceptor: TlsAcceptor::from(Arc::new(config)), identity, metrics, looking }))
    }

    /// Why the files as they are now are not used, but what they held before is.
    pub fn trouble(&self) -> Option<String> {
        self.identity.state().trouble.clone()
    }

    /// The TLS connection, unless the client does not make one in time.
    pub(crate) async fn handshake(&self, stream: Socket) -> Option<TlsStream<Socket>> {
        self.handshake_within(TLS_HANDSHAKE_TIMEOUT, stream).await
    }

    async fn handshake_within(&self, limit: Duration, stream: Socket) -> Option<TlsStream<Socket>> {
        let why = match tokio::time::timeout(limit, self.accept(stream)).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        tracing::debug!(why, "a TLS handshake failed");
        self.metrics.tls_handshake_failed();
        None
    }

    async fn accept(&self, stream: Socket) -> io::Result<TlsStream<Socket>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1
            && first[0] != HANDSHAKE_RECORD
            && first[0].is_ascii_uppercase()
        {
            refuse_plain_text(stream).await?;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "plain HTTP was sent to the TLS port"));
        }
        self.acceptor.accept(stream).await
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

async fn refuse_plain_text(mut stream: Socket) -> io::Result<()> {
    stream.write_all(PLAIN_TEXT_ANSWER.as_bytes()).await?;
    stream.shutdown().await?;
    // Closing a socket with unread data resets it, and the client might never see the answer.
    let reading = async {
        let (mut buffer, mut seen) = ([0; 4096], 0);
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            seen += length;
            if seen > REFUSED_DRAIN_BYTES {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, reading).await;
    Ok(())
}

async fn look_again(identity: Arc<Identity>, metrics: Metrics, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let looked = Arc::clone(&identity);
        // Certificates may lie on a file system that hangs.
        match tokio::task::spawn_blocking(move || looked.look(SystemClock.wall())).await {
            Ok(Look::Same) => {}
            Ok(Look::Replaced) => {
                tracing::info!(certificate = %identity.files.certificate.display(), "HTTPS has a new certificate");
            }
            Ok(Look::Kept(why)) => {
                metrics.tls_reload_failed();
                tracing::warn!(
                    why,
                    "the changed certificate can't be used; HTTPS goes on with the one before"
                );
            }
            Err(error) => tracing::warn!(%error, "the certificate could not be looked at"),
        }
    }
}

/// What a look at the files came to.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Same,
    Replaced,
    /// The files can't be used, and why. Said once, not at each look.
    Kept(String),
}

/// The certificate in use, and the files it came from.
#[derive(Debug)]
struct Identity {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    current: Arc<CertifiedKey>,
    /// What the last look saw: a hash of the files, or why they can't be read.
    seen: Result<[u8; 32], String>,
    trouble: Option<String>,
}

impl Identity {
    fn load(files: TlsFiles, provider: Arc<CryptoProvider>) -> S3Result<Identity> {
        let loaded = files.read().and_then(|pem| Ok((pem.fingerprint(), pem.certified(&files, &provider)?)));
        let (fingerprint, current) = loaded.map_err(|why| S3Error::with(S3Code::InvalidArgument, why))?;
        // There is no better one to go on with, and the clock may be what is wrong.
        if let Err(why) = not_expired(&current, &files, SystemClock.wall()) {
            tracing::warn!(why, "clients will not trust HTTPS");
        }
        let state = Mutex::new(State { current, seen: Ok(fingerprint), trouble: None });
        Ok(Identity { files, provider, state })
    }

    /// Takes what the files hold now, if it can be used and has not expired: whatever is served then is no worse.
    fn look(&self, now: WallMillis) -> Look {
        let found = self.files.read();
        let seen = found.as_ref().map(Pem::fingerprint).map_err(String::clone);
        if self.state().seen == seen {
            return Look::Same;
        }
        let made = found.and_then(|pem| {
            let certified = pem.certified(&self.files, &self.provider)?;
            not_expired(&certified, &self.files, now)?;
            Ok(certified)
        });
        let mut state = self.state();
        state.seen = seen;
        match made {
            Ok(certified) => {
                (state.current, state.trouble) = (certified, None);
                Look::Replaced
            }
            Err(why) => {
                state.trouble = Some(why.clone());
                Look::Kept(why)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Identity {
    /// The same for every name: a client that asked for another finds out by itself.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.state().current))
    }
}

/// Nobody trusts a certificate after its time.
fn not_expired(certified: &CertifiedKey, files: &TlsFiles, now: WallMillis) -> Result<(), String> {
    let certificate = files.certificate.display();
    let own = certified.end_entity_cert().map_err(|error| format!("{certificate}: {error}"))?;
    let (_, parsed) = X509Certificate::from_der(own)
        .map_err(|error| format!("the certificate {certificate} can't be read: {error}"))?;
    let end = parsed.validity().not_after;
    if i128::from(end.timestamp()) * 1000 < i128::from(now.0) {
        return Err(format!("the certificate {certificate} has expired, on {end}"));
    }
    Ok(())
}

/// The content of both files.
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl TlsFiles {
    /// Whether HTTPS can be served with these, before anything is started.
    ///
    /// Errors: `InvalidArgument`, as [`Https::load`].
    pub fn check(&self) -> S3Result<()> {
        Identity::load(self.clone(), Arc::new(rustls::crypto::ring::default_provider())).map(drop)
    }

    fn read(&self) -> Result<Pem, String> {
        Ok(Pem { certificate: read(&self.certificate)?, key: read(&self.key)? })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error| format!("can't read {}: {error}", path.display());
    let mut content = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_PEM_BYTES + 1).read_to_end(&mut content))
        .map_err(failed)?;
    if content.len() as u64 > MAX_PEM_BYTES {
        return Err(format!("{} is longer than {MAX_PEM_BYTES} bytes", path.display()));
    }
    Ok(content)
}

impl Pem {
    fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update((self.certificate.len() as u64).to_le_bytes());
        hash.update(&self.certificate);
        hash.update(&self.key);
        hash.finalize().into()
    }

    /// Errors say which file is wrong and show nothing of the key.
    fn certified(&self, files: &TlsFiles, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, String> {
        let (certificate, key) = (files.certificate.display(), files.key.display());
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("{certificate} is not PEM: {error}"))?;
        if chain.is_empty() {
            return Err(format!("{certificate} holds no certificate in PEM"));
        }
        let private = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| format!("{key} holds no private key in PEM that is not encrypted"))?;
        CertifiedKey::from_der(chain, private, provider).map(Arc::new).map_err(|error| {
            format!("the certificate {certificate} and the key {key} can't be used: {error}")
        })
    }
}

#[cfg(test)]
#[path = "tls_test.rs"]
mod tests;
