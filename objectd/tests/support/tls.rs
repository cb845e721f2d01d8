//! HTTPS in tests: a certificate of its own, and a client that trusts it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use crate::support::{Call, Client, Response};
use objectd::{Https, Metrics, TlsFiles};
use prometheus_client::registry::Registry;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// A gateway's port for HTTPS, and how to trust it.
pub struct Secure {
    pub addr: SocketAddr,
    certificate: CertificateDer<'static>,
    /// Where its files are.
    _folder: TempDir,
}

impl Secure {
    /// The port, and what a gateway serves it with.
    pub async fn bind() -> (Self, (TcpListener, Arc<Https>)) {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files =
            TlsFiles { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        let https = Https::load(files, Metrics::register(&mut Registry::default())).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        (Self { addr, certificate: made.cert.der().clone(), _folder: folder }, (listener, https))
    }

    /// What `client` would call over HTTP.
    pub async fn call(&self, client: &Client, call: &Call) -> Response {
        let prepared = Client { address: self.addr, ..client.clone() }.prepare(call);
        let socket = TcpStream::connect(self.addr).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = self.connector().connect(name, socket).await.unwrap();
        // A refusal may come, and the connection go, before all is sent.
        let _ = stream.write_all(&prepared.to_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        Response::parse(&answer, &prepared.method).unwrap()
    }

    fn connector(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }
}
