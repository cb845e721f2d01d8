//! `up --tls`: a certificate authority of this store alone, and the server certificate that it signs.
//!
//! Clients trust the authority once; the server's certificate is short-lived and made again, with a new key, before
//! it ends or when the names change. It lies in one file with its key, so that no moment sees one without the other.
//!
//! Keys come from ring's generator, the operating system's: not even a simulation should be able to replay them.

use super::names::Names;
use crate::error::Error;
use crate::folder::{Folder, make_private_dir};
use crate::limits::{
    CA_LIFE, CERTIFICATE_LIFE, CERTIFICATE_LOOK_EVERY, CERTIFICATE_RENEW_BEFORE, CLOCK_SKEW,
};
use objectd::TlsFiles;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rt::clock::{Clock, SystemClock, WallMillis};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

/// In the data folder.
const DIR: &str = "tls";
const CA: &str = "tls/ca.pem";
const CA_KEY: &str = "tls/ca.key";
/// The server's certificate and its key.
const SERVER: &str = "tls/server.pem";

/// The authority of a data folder.
pub struct LocalCa {
    folder: Arc<Folder>,
    names: Names,
}

/// What had to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    Nothing,
    Server,
    /// Clients must be told to trust the new one.
    Authority,
}

impl LocalCa {
    pub fn new(folder: Arc<Folder>, listen: SocketAddr, domains: &[String]) -> Self {
        Self { folder, names: Names { listen: listen.ip(), domains: domains.to_vec() } }
    }

    /// The certificate that clients trust.
    pub fn authority(&self) -> PathBuf {
        self.folder.path.join(CA)
    }

    /// What HTTPS is served with.
    pub fn files(&self) -> TlsFiles {
        let server = self.folder.path.join(SERVER);
        TlsFiles { certificate: server.clone(), key: server }
    }

    /// Makes what is missing, ends soon or is for other names.
    ///
    /// Errors: the folder can't be written; the authority is damaged; this machine's addresses can't be read.
    pub fn renew(&self, now: WallMillis) -> Result<Renewed, Error> {
        let names = self.names.now()?;
        make_private_dir(&self.folder.path.join(DIR))?;
        let (authority, is_new) = match self.read(CA)? {
            Some(text)
                if !ends_within(&text, CERTIFICATE_LIFE, now).map_err(|why| self.damaged(CA, &why))? =>
            {
                (text, false)
            }
            _ => (self.make_authority(now)?, true),
        };
        let server = self.read(SERVER)?;
        if !is_new && server.is_some_and(|server| self.serves(&server, &authority, (&names, now))) {
            return Ok(Renewed::Nothing);
        }
        let server = self.make_server(&authority, (&names, now))?;
        if !self.serves(&server, &authority, (&names, now)) {
            return Err(self.damaged(CA_KEY, "it is not the key of ca.pem"));
        }
        self.folder.write(SERVER, server.as_bytes())?;
        Ok(if is_new { Renewed::Authority } else { Renewed::Server })
    }

    /// Looks now and then whether something ends soon. For ever.
    pub async fn keep(self) {
        loop {
            tokio::time::sleep(CERTIFICATE_LOOK_EVERY).await;
            match self.renew(SystemClock.wall()) {
                Ok(Renewed::Nothing) => {}
                Ok(Renewed::Server) => {
                    tracing::info!(
                        "the server has a new certificate: the one before was about to end, or this machine's addresses changed"
                    )
                }
                Ok(Renewed::Authority) => {
                    let ca = self.authority();
                    tracing::warn!(ca = %ca.display(), "the local CA was about to end; clients must trust the new one");
                }
                Err(error) => tracing::warn!(%error, "the server's certificate could not be renewed"),
            }
        }
    }

    /// Whether a server's certificate is signed by this authority, for these names, and lasts.
    fn serves(&self, server: &str, authority: &str, (wanted, now): (&BTreeSet<String>, WallMillis)) -> bool {
        let (Ok(server), Ok(authority)) = (parse(server), parse(authority)) else { return false };
        let (Ok(certificate), Ok(authority)) = (server.parse_x509(), authority.parse_x509()) else {
            return false;
        };
        certificate.verify_signature(Some(authority.public_key())).is_ok()
            && names(&certificate).as_ref() == Some(wanted)
            && seconds_left(&certificate, now) > seconds(CERTIFICATE_RENEW_BEFORE)
    }

    fn make_authority(&self, now: WallMillis) -> Result<String, Error> {
        let key = KeyPair::generate().map_err(not_made)?;
        let mut params = params("Ashlar local CA", [], CA_LIFE, now)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(not_made)?.pem();
        // The key first: without the certificate it counts for nothing, and both are made again.
        self.folder.write(CA_KEY, key.serialize_pem().as_bytes())?;
        self.folder.write(CA, certificate.as_bytes())?;
        Ok(certificate)
    }

    fn make_server(
        &self,
        authority: &str,
        (names, now): (&BTreeSet<String>, WallMillis),
    ) -> Result<String, Error> {
        let key = self.read(CA_KEY)?.ok_or_else(|| self.damaged(CA_KEY, "it is not there"))?;
        let key = KeyPair::from_pem(&key).map_err(|error| self.damaged(CA_KEY, &error.to_string()))?;
        let issuer =
            Issuer::from_ca_cert_pem(authority, key).map_err(|error| self.damaged(CA, &error.to_string()))?;
        let mut params = params("Ashlar S3 gateway", names.iter().cloned(), CERTIFICATE_LIFE, now)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(not_made)?;
        let certificate = params.signed_by(&key, &issuer).map_err(not_made)?;
        Ok(format!("{}{}", certificate.pem(), key.serialize_pem()))
    }

    fn read(&self, name: &str) -> Result<Option<String>, Error> {
        match std::fs::read_to_string(self.folder.path.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.damaged(name, &error.to_string())),
        }
    }

    fn damaged(&self, name: &str, why: &str) -> Error {
        let dir = self.folder.path.join(DIR);
        Error::failed(format!(
            "{} can't be used: {why}; put it back from a copy, or remove {} to have a new CA, which every client \
             must be told to trust",
            self.folder.path.join(name).display(),
            dir.display()
        ))
    }
}

fn params(
    name: &str,
    names: impl IntoIterator<Item = String>,
    life: Duration,
    now: WallMillis,
) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(names.into_iter().collect::<Vec<_>>()).map_err(not_made)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let at =
        |seconds| OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| not_made("the clock is far off"));
    params.not_before = at(wall_seconds(now) - seconds(CLOCK_SKEW))?;
    params.not_after = at(wall_seconds(now) + seconds(life))?;
    Ok(params)
}

fn not_made(error: impl std::fmt::Display) -> Error {
    Error::failed(format!("a certificate could not be made: {error}"))
}

/// The first PEM block. In `server.pem` that is the certificate.
fn parse(text: &str) -> Result<Pem, String> {
    match Pem::iter_from_buffer(text.as_bytes()).next() {
        Some(Ok(pem)) => Ok(pem),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("it holds no certificate".to_owned()),
    }
}

fn ends_within(text: &str, life: Duration, now: WallMillis) -> Result<bool, String> {
    let pem = parse(text)?;
    let certificate = pem.parse_x509().map_err(|error| error.to_string())?;
    Ok(seconds_left(&certificate, now) <= seconds(life))
}

fn names(certificate: &X509Certificate<'_>) -> Option<BTreeSet<String>> {
    let names = &certificate.subject_alternative_name().ok()??.value.general_names;
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => Some(IpAddr::from(<[u8; 4]>::try_from(*bytes).ok()?).to_string()),
            _ => Some(IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
        },
        _ => None,
    };
    names.iter().map(name).collect()
}

fn seconds_left(certificate: &X509Certificate<'_>, now: WallMillis) -> i64 {
    certificate.validity().not_after.timestamp() - wall_seconds(now)
}

fn wall_seconds(now: WallMillis) -> i64 {
    i64::try_from(now.0 / 1000).expect("milliseconds of a u64, divided by a thousand, fit")
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).expect("the limits are some years at most")
}

#[cfg(test)]
#[path = "local_ca_test.rs"]
mod tests;
