use super::*;
use prometheus_client::registry::Registry;
use rcgen::{CertifiedKey as Made, generate_simple_self_signed};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

struct Folder {
    dir: tempfile::TempDir,
    registry: Registry,
    metrics: Metrics,
}

impl Folder {
    fn new() -> Folder {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        Folder { dir: tempfile::tempdir().unwrap(), registry, metrics }
    }

    fn files(&self) -> TlsFiles {
        TlsFiles { certificate: self.dir.path().join("cert.pem"), key: self.dir.path().join("key.pem") }
    }

    fn put(&self, name: &str, content: &str) {
        std::fs::write(self.dir.path().join(name), content).unwrap();
    }

    fn put_pair(&self, made: &Made<rcgen::KeyPair>) {
        self.put("cert.pem", &made.cert.pem());
        self.put("key.pem", &made.signing_key.serialize_pem());
    }

    fn identity(&self) -> S3Result<Identity> {
        Identity::load(self.files(), Arc::new(rustls::crypto::ring::default_provider()))
    }

    fn https(&self) -> Arc<Https> {
        Https::load(self.files(), self.metrics.clone()).unwrap()
    }

    fn count(&self, name: &str) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    }
}

fn made() -> Made<rcgen::KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

/// Certificates that rcgen makes without further words last from 1975 to 4096.
const NOW: WallMillis = WallMillis(1_800_000_000_000);

fn kept(look: Look) -> String {
    match look {
        Look::Kept(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_certificate_with_its_key_is_refused_by_name() {
    let folder = Folder::new();
    let (good, other) = (made(), made());
    let (cert, key) = (good.cert.pem(), good.signing_key.serialize_pem());
    let long = "a".repeat((1 << 20) + 1);
    let cases = [
        ("", key.as_str(), "holds no certificate"),
        (key.as_str(), key.as_str(), "holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", &key, "is not PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &key, "can't be used"),
        (&cert, "", "holds no private key"),
        (&cert, &cert, "holds no private key"),
        (&other.cert.pem(), &key, "can't be used"),
        (&long, &key, "is longer"),
    ];
    for (certificate, private, expected) in cases {
        folder.put("cert.pem", certificate);
        folder.put("key.pem", private);
        let error = folder.identity().expect_err(expected);
        assert!(error.message().contains(expected), "{expected}: {}", error.message());
        assert!(error.message().contains(".pem"), "{}", error.message());
    }
    std::fs::remove_file(folder.files().key).unwrap();
    folder.put("cert.pem", &cert);
    assert!(folder.identity().expect_err("gone").message().contains("can't read"));
    // Both in one file do as well.
    folder.put("cert.pem", &format!("{cert}{key}"));
    let files = TlsFiles { key: folder.files().certificate, ..folder.files() };
    Identity::load(files, Arc::new(rustls::crypto::ring::default_provider())).unwrap();
}

#[test]
fn a_bad_change_keeps_the_certificate_and_is_told_once() {
    let folder = Folder::new();
    let (first, second) = (made(), made());
    folder.put_pair(&first);
    let identity = folder.identity().unwrap();
    let serves = |made: &Made<rcgen::KeyPair>| identity.state().current.cert[0] == *made.cert.der();
    assert_eq!(identity.look(NOW), Look::Same);
    // A certificate of another key, as between the two writes of whoever replaces them.
    folder.put("cert.pem", &second.cert.pem());
    assert!(kept(identity.look(NOW)).contains("cert.pem"));
    assert_eq!(identity.look(NOW), Look::Same);
    assert!(serves(&first) && identity.state().trouble.is_some());
    folder.put("key.pem", &second.signing_key.serialize_pem());
    assert_eq!(identity.look(NOW), Look::Replaced);
    assert!(serves(&second) && identity.state().trouble.is_none());
    std::fs::remove_file(folder.files().certificate).unwrap();
    assert!(kept(identity.look(NOW)).contains("can't read"));
    assert_eq!(identity.look(NOW), Look::Same);
    assert!(serves(&second));
    folder.put("cert.pem", &second.cert.pem());
    assert_eq!(identity.look(NOW), Look::Replaced);
    assert!(serves(&second) && identity.state().trouble.is_none());
}

#[test]
fn an_expired_certificate_never_takes_the_place_of_another() {
    let folder = Folder::new();
    let first = made();
    folder.put_pair(&first);
    let identity = folder.identity().unwrap();
    let serves = |made: &Made<rcgen::KeyPair>| identity.state().current.cert[0] == *made.cert.der();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    let ends = WallMillis(1_798_761_600_000);
    let second = Made { cert: params.self_signed(&key).unwrap(), signing_key: key };
    folder.put_pair(&second);
    let why = kept(identity.look(WallMillis(ends.0 + 1)));
    assert!(why.contains("expired") && why.contains("cert.pem"), "{why}");
    assert!(serves(&first) && identity.state().trouble.is_some());
    assert_eq!(identity.look(NOW), Look::Same, "it is told once");
    // One that still lasts is taken, to its last moment.
    folder.put_pair(&first);
    assert_eq!(identity.look(NOW), Look::Replaced);
    assert!(identity.state().trouble.is_none());
    folder.put_pair(&second);
    assert_eq!(identity.look(ends), Look::Replaced);
    assert!(serves(&second));
}

#[tokio::test]
async fn a_changed_file_is_noticed_by_itself_and_a_bad_one_is_counted() {
    let folder = Folder::new();
    let (first, second) = (made(), made());
    folder.put_pair(&first);
    let https =
        Https::load_and_look(folder.files(), folder.metrics.clone(), Duration::from_millis(1)).unwrap();
    folder.put("key.pem", "no key");
    until(|| https.trouble().is_some()).await;
    folder.put_pair(&second);
    until(|| https.trouble().is_none()).await;
    assert!(https.identity.state().current.cert[0] == *second.cert.der());
    assert_ne!(folder.count("ashlar_s3_tls_reload_failures_total"), "0");
}

async fn until(done: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("nobody looked");
}

async fn pair() -> (TcpStream, Socket) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let server = listener.accept().await.unwrap().0;
    let metrics = Metrics::register(&mut Registry::default());
    (client, WriteGuard::of_socket(server, Arc::new(SystemClock), metrics))
}

fn connector(
    trusted: &Made<rcgen::KeyPair>,
    version: &'static rustls::SupportedProtocolVersion,
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

#[tokio::test]
async fn a_connection_goes_on_while_new_ones_get_the_new_certificate() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let folder = Folder::new();
        let (first, second) = (made(), made());
        folder.put_pair(&first);
        let https = folder.https();
        let connect = async |trusted: &Made<rcgen::KeyPair>| {
            let (client, server) = pair().await;
            let connector = connector(trusted, version);
            tokio::join!(connector.connect(localhost(), client), https.handshake(server))
        };
        let (client, server) = connect(&first).await;
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        assert_eq!(server.get_ref().1.protocol_version(), Some(version.version));
        folder.put_pair(&second);
        assert_eq!(https.identity.look(NOW), Look::Replaced);
        let mut buffer = [0; 5];
        client.write_all(b"hello").await.unwrap();
        server.read_exact(&mut buffer).await.unwrap();
        server.write_all(&buffer).await.unwrap();
        client.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"hello");
        assert!(connect(&first).await.0.is_err(), "the old one is not served any more");
        assert!(connect(&second).await.0.is_ok());
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_ends() {
    let folder = Folder::new();
    folder.put_pair(&made());
    let https = folder.https();
    // Nothing, then the first half of a record.
    for sent in [&[][..], &[22, 3, 1, 0, 100, 1]] {
        let (mut client, server) = pair().await;
        client.write_all(sent).await.unwrap();
        assert!(https.handshake_within(Duration::from_millis(50), server).await.is_none());
        drop(client);
    }
    assert_eq!(folder.count("ashlar_s3_tls_handshake_failures_total"), "2");
}

async fn answer_to(https: &Https, sent: &[u8]) -> Vec<u8> {
    let (mut client, server) = pair().await;
    client.write_all(sent).await.unwrap();
    let mut answer = Vec::new();
    let asking = async {
        client.read_to_end(&mut answer).await.unwrap();
        drop(client);
    };
    let ((), shaken) = tokio::join!(asking, https.handshake(server));
    assert!(shaken.is_none());
    answer
}

#[tokio::test]
async fn plain_text_and_old_versions_are_told_why() {
    let folder = Folder::new();
    folder.put_pair(&made());
    let https = folder.https();
    let answer = answer_to(&https, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 ") && body.contains("HTTPS only"), "{answer}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{} {head}", body.len());

    // A ClientHello of TLS 1.1 (RFC 4346) that would do but for its version.
    let mut hello = vec![22, 3, 1, 0, 55, 1, 0, 0, 51, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x2b, 1, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    let alert = answer_to(&https, &hello).await;
    assert_eq!(alert, [21, 3, 3, 0, 2, 2, 70], "a fatal protocol_version alert");

    // Neither: an alert too.
    let alert = answer_to(&https, &[0; 64]).await;
    assert_eq!(alert.first(), Some(&21), "{alert:?}");
    assert_eq!(folder.count("ashlar_s3_tls_handshake_failures_total"), "3");
}
