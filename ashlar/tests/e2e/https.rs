//! S3 over HTTPS, as `up --tls` and `objectd --tls-cert` serve it.

use crate::harness::{Store, clean, eventually, expect_success, have, noise, skip};
use crate::up::Up;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;
use trial::process::{Daemon, program, tail};

const PATIENCE: Duration = Duration::from_secs(60);

/// aws-cli, if it is installed.
fn aws() -> Option<PathBuf> {
    match std::env::var_os("ASHLAR_TEST_AWS").map(PathBuf::from) {
        Some(path) if path.is_file() => Some(path),
        _ => have("aws").then(|| "aws".into()),
    }
}

#[test]
fn clients_use_https_with_the_local_ca() {
    let (Some(aws), true) = (aws(), have("curl")) else {
        return skip("clients_use_https_with_the_local_ca", "aws-cli or curl is not installed");
    };
    let mut up = Up::start(&["--tls", "--s3-domain", "s3.localhost"]);
    let ca = up.data().join("tls/ca.pem").to_str().unwrap().to_owned();
    assert_eq!(up.env["AWS_CA_BUNDLE"], ca);
    assert_eq!(up.env["AWS_ENDPOINT_URL"], format!("https://{}", up.tls()));
    assert!(up.stdout().contains("update-ca-certificates"));

    // aws-cli's default over HTTPS is STREAMING-UNSIGNED-PAYLOAD-TRAILER, in one piece and in parts.
    up.run(&aws, &["s3", "mb", "s3://secure"]);
    for (name, len) in [("small", 100), ("large", 20 << 20)] {
        let (file, back) = (up.dir.path().join(name), up.dir.path().join(format!("{name}.back")));
        std::fs::write(&file, noise(3, len)).unwrap();
        let there = format!("s3://secure/{name}");
        up.run(&aws, &["s3", "cp", "--only-show-errors", file.to_str().unwrap(), &there]);
        up.run(&aws, &["s3", "cp", "--only-show-errors", &there, back.to_str().unwrap()]);
        assert!(std::fs::read(&back).unwrap() == noise(3, len), "{name}");
    }
    // Presigned is UNSIGNED-PAYLOAD; the same store, by each of the versions and by a bucket's host.
    let url = up.run(&aws, &["s3", "presign", "s3://secure/small"]);
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    for version in [["--tls-max", "1.2"], ["--tlsv1.3", "--silent"]] {
        let output =
            clean("curl").args(["-sSf", "--cacert", &ca]).args(version).arg(url.trim()).output().unwrap();
        assert!(output.stdout == noise(3, 100), "{version:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let port = up.tls().rsplit(':').next().unwrap().to_owned();
    let host = format!("https://secure.s3.localhost:{port}/small");
    let resolve = format!("secure.s3.localhost:{port}:127.0.0.1");
    let by_host =
        ["-sS", "--cacert", &ca, "--resolve", &resolve, "-o", "/dev/null", "-w", "%{http_code}", &host];
    assert_eq!(up.run("curl", &by_host), "403", "its name is in the certificate");

    // Nobody else's trust, no old version, no plain text.
    let stranger = clean("curl").args(["-sS", &host, "--resolve", &resolve]).output();
    assert!(!stranger.unwrap().status.success());
    let old = clean("openssl")
        .args(["s_client", "-connect", &up.tls(), "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&old.stderr).into_owned();
    assert!(!old.status.success() && said.contains("alert"), "{said}");
    let plain = format!("http://{}/", up.tls());
    assert!(up.run("curl", &["-sS", &plain]).contains("HTTPS only"));
    assert!(up.status().contains("\"healthy\""));

    // The CA and the certificate are those of before.
    let server = std::fs::read(up.data().join("tls/server.pem")).unwrap();
    up.stop();
    up.again(&["--tls", "--s3-domain", "s3.localhost"]);
    assert_eq!(std::fs::read(up.data().join("tls/server.pem")).unwrap(), server);
    assert!(up.run(&aws, &["s3", "ls", "s3://secure"]).contains("large"));
    locations_have_the_scheme(&up, &aws);
    downloads_in_flight_end_well(up, &aws, &ca);
}

/// What CompleteMultipartUpload answers can be asked for as it is.
fn locations_have_the_scheme(up: &Up, aws: &Path) {
    let part = up.dir.path().join("small");
    let name = ["--bucket", "secure", "--key", "parts"];
    let run = |args: &[&str]| up.run(aws, &[&["s3api"], args, &name[..], &["--output", "text"]].concat());
    let id = run(&["create-multipart-upload", "--query", "UploadId"]);
    let id = ["--upload-id", id.trim()];
    let body = ["upload-part", "--part-number", "1", "--query", "ETag", "--body", part.to_str().unwrap()];
    let tag = run(&[&body[..], &id].concat());
    let parts = format!("{{\"Parts\":[{{\"PartNumber\":1,\"ETag\":\"{}\"}}]}}", tag.trim().trim_matches('"'));
    let complete = ["complete-multipart-upload", "--query", "Location", "--multipart-upload", &parts];
    let location = run(&[&complete[..], &id].concat());
    assert_eq!(location.trim(), format!("https://{}/secure/parts", up.tls()));
}

/// Two slow readers, one of each port, see their object's end although the gateway is told to stop.
fn downloads_in_flight_end_well(mut up: Up, aws: &Path, ca: &str) {
    let http = up.http();
    let download = |name: &str, endpoint: &str| {
        let url = up.run(aws, &["s3", "presign", "s3://secure/large", "--endpoint-url", endpoint]);
        let file = up.dir.path().join(name);
        let args = ["-sSf", "--cacert", ca, "--limit-rate", "6M", "-o", file.to_str().unwrap(), url.trim()];
        (clean("curl").args(args).spawn().unwrap(), file)
    };
    let downloads = [download("by-https", &up.env["AWS_ENDPOINT_URL"]), download("by-http", &http)];
    for (_, file) in &downloads {
        let begun = || std::fs::metadata(file).is_ok_and(|file| file.len() > 0).then_some(());
        eventually("a download", PATIENCE, begun);
    }
    up.stop();
    for (mut child, file) in downloads {
        assert!(child.wait().unwrap().success(), "{}", file.display());
        assert!(std::fs::read(&file).unwrap() == noise(3, 20 << 20), "{}", file.display());
    }
}

/// A certificate for localhost that signs itself.
fn certificate(dir: &Path) -> (String, String) {
    let (cert, key) = (dir.join("new-cert.pem"), dir.join("new-key.pem"));
    let output = clean("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-out", cert.to_str().unwrap(), "-keyout", key.to_str().unwrap()])
        .output()
        .unwrap();
    expect_success("openssl req", &output, "");
    (std::fs::read_to_string(cert).unwrap(), std::fs::read_to_string(key).unwrap())
}

/// An HTTP connection over TLS that lasts: openssl's client, which shows the certificate that it was given.
struct Session {
    child: Child,
}

impl Session {
    fn connect(address: &str) -> Session {
        let child = clean("openssl")
            .args(["s_client", "-quiet", "-connect", address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Session { child }
    }

    /// The head of the answer to an unsigned request.
    fn ask(&mut self) -> String {
        let request = b"HEAD /none HTTP/1.1\r\nHost: localhost\r\n\r\n";
        self.child.stdin.as_mut().unwrap().write_all(request).unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            self.child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a new connection is given this certificate.
fn trusts(dir: &Path, address: &str, certificate: &str) -> bool {
    let ca = dir.join("trusted.pem");
    std::fs::write(&ca, certificate).unwrap();
    let url = format!("https://{address}/");
    let args = ["-s", "-o", "/dev/null", "--cacert", ca.to_str().unwrap(), &url];
    clean("curl").args(args).status().unwrap().success()
}

#[test]
fn a_certificate_is_replaced_while_a_connection_goes_on() {
    if !have("openssl") || !have("curl") {
        return skip(
            "a_certificate_is_replaced_while_a_connection_goes_on",
            "openssl or curl is not installed",
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let (first, second) = (certificate(dir.path()), certificate(dir.path()));
    let put = |pair: &(String, String)| {
        std::fs::write(&cert, &pair.0).unwrap();
        std::fs::write(&key, &pair.1).unwrap();
    };
    put(&first);
    let flags = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let mut up = Up::start(&flags);
    // Whose names it has is not known, so plain HTTP stays what env.sh says.
    assert!(up.env["AWS_ENDPOINT_URL"].starts_with("http://") && !up.env.contains_key("AWS_CA_BUNDLE"));
    let address = up.tls();
    let mut session = Session::connect(&address);
    assert!(session.ask().starts_with("HTTP/1.1 403 "));
    assert!(trusts(dir.path(), &address, &first.0) && !trusts(dir.path(), &address, &second.0));

    std::fs::write(&key, "torn").unwrap();
    eventually("a word of the bad key", PATIENCE, || {
        up.status().contains("certificate of before").then_some(())
    });
    assert!(trusts(dir.path(), &address, &first.0), "the one of before is served");
    assert!(tail(&up.dir.path().join("up.log")).contains("goes on with the one before"));
    put(&second);
    eventually("the new certificate", PATIENCE, || trusts(dir.path(), &address, &second.0).then_some(()));
    assert!(!up.status().contains("certificate of before"));
    assert!(session.ask().starts_with("HTTP/1.1 403 "), "the connection of before goes on");

    // An idle TLS connection, and one that never began, keep nobody from stopping.
    let silent = TcpStream::connect(&address).unwrap();
    up.stop();
    drop(silent);
}

#[test]
fn a_gateway_of_its_own_serves_https_from_a_config_file() {
    if !have("openssl") || !have("curl") {
        return skip(
            "a_gateway_of_its_own_serves_https_from_a_config_file",
            "openssl or curl is not installed",
        );
    }
    let store = Store::start("256M");
    let dir = store.dir.path();
    let (cert, key) = certificate(dir);
    let both = dir.join("both.pem");
    std::fs::write(&both, format!("{cert}{key}")).unwrap();
    let config = dir.join("objectd.toml");
    let text = format!(
        "listen = '127.0.0.1:0'\ngateway = 'second'\nnode = 'local'\nmeta = '{}'\ntoken-file = '{}'\n\
         tls-listen = '127.0.0.1:0'\ntls-cert = '{2}'\ntls-key = '{2}'\n",
        store.env("ASHLAR_ADMIN"),
        store.data().join("secrets/daemon.token").display(),
        both.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut command = clean(program());
    command.arg("objectd").arg("--config").arg(&config);
    let gateway = Daemon::start("ashlar objectd", &mut command, &dir.join("objectd.log"));
    let url = gateway.ready("s3-tls");
    assert!(trusts(dir, url.trim_start_matches("https://"), &cert), "{url}");
    gateway.stop();
}
