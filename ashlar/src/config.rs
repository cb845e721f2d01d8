//! What `up` is told, resolved once: flag, then environment, then file, then default.

use crate::audit::Keep;
use crate::error::Error;
use crate::https;
use crate::limits::{DEFAULT_DISK_BYTES, MAX_CONFIG_BYTES, MAX_DISK_BYTES, MAX_DOMAIN_BYTES, MIN_DISK_BYTES};
use compute::AccelChoice;
use meta::planner;
use objectd::TlsFiles;
use objectd::limits::LOG_DELIVERY;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `ashlar up`'s flags. clap has already put the environment under them.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct UpArgs {
    /// The data folder; made on the first start
    #[arg(long, env = "ASHLAR_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where the S3 gateway listens [default: 127.0.0.1:9000]
    #[arg(long, env = "ASHLAR_S3_LISTEN", value_name = "HOST:PORT")]
    pub s3: Option<String>,
    /// Where the admin API listens [default: 127.0.0.1:7070]
    #[arg(long, env = "ASHLAR_ADMIN_LISTEN", value_name = "HOST:PORT")]
    pub admin: Option<String>,
    /// Size of each of the three disks, on the first start [default: 10G]
    #[arg(long, env = "ASHLAR_DISK_SIZE", value_name = "SIZE")]
    pub disk_size: Option<String>,
    /// How VMs run: auto, kvm or tcg [default: auto]
    #[arg(long, env = "ASHLAR_ACCEL", value_name = "HOW")]
    pub accel: Option<String>,
    /// QEMU's program [default: qemu-system-x86_64]
    #[arg(long, env = "ASHLAR_QEMU", value_name = "PROGRAM")]
    pub qemu: Option<PathBuf>,
    /// The region that S3 clients are told [default: ashlar-1]
    #[arg(long, env = "ASHLAR_REGION", value_name = "NAME")]
    pub region: Option<String>,
    /// A domain below which a host names a bucket, such as s3.example.com for BUCKET.s3.example.com; again for each
    #[arg(long, env = "ASHLAR_S3_DOMAIN", value_name = "DOMAIN", value_delimiter = ',')]
    pub s3_domain: Vec<String>,
    /// A domain below which a host names a bucket's website, such as s3-website.example.com; again for each
    #[arg(long, env = "ASHLAR_S3_WEBSITE_DOMAIN", value_name = "DOMAIN", value_delimiter = ',')]
    pub s3_website_domain: Vec<String>,
    /// Serve S3 over HTTPS too, with a certificate of a local CA that is made in the data folder
    #[arg(long, env = "ASHLAR_TLS")]
    pub tls: bool,
    /// Where HTTPS is served [default: 127.0.0.1:9443]
    #[arg(long, env = "ASHLAR_TLS_LISTEN", value_name = "HOST:PORT")]
    pub tls_listen: Option<String>,
    /// A certificate of your own for HTTPS, and those that signed it, in PEM; looked at again and again
    #[arg(long, env = "ASHLAR_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Its key in PEM, not encrypted
    #[arg(long, env = "ASHLAR_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// The file of the keys that objects are encrypted with, made when one is first needed, and not on the pool's disks
    /// [default: ashlar/pool-ID.key in your configuration folder]
    #[arg(long, env = "ASHLAR_POOL_KEY", value_name = "FILE")]
    pub pool_key: Option<PathBuf>,
    /// How long a disk must be gone before others take its places [default: 600]
    #[arg(long, value_name = "SECONDS")]
    pub replace_after: Option<u64>,
    /// For tests: a file with the seconds by which the clock that lifecycle rules go by is ahead of the machine's. It
    /// may change at any time, and things that it makes due are deleted for good
    #[arg(long, value_name = "FILE")]
    pub lifecycle_ahead: Option<PathBuf>,
    /// How long lines of buckets' access logs wait to be delivered [default: 300]
    #[arg(long, value_name = "SECONDS")]
    pub log_delivery_seconds: Option<u32>,
    /// How long lines of the audit log are kept, in days [default: 90]
    #[arg(long, value_name = "DAYS")]
    pub audit_keep_days: Option<u32>,
    /// How much of the audit log is kept, if that is reached earlier [default: 1G]
    #[arg(long, value_name = "SIZE")]
    pub audit_keep_size: Option<String>,
    /// A TOML file with any of these, named alike (s3-domain and s3-website-domain are lists)
    #[arg(long, env = "ASHLAR_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The config file. Unknown keys are errors.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    data: Option<PathBuf>,
    s3: Option<String>,
    admin: Option<String>,
    disk_size: Option<String>,
    accel: Option<String>,
    qemu: Option<PathBuf>,
    region: Option<String>,
    #[serde(default)]
    s3_domain: Vec<String>,
    #[serde(default)]
    s3_website_domain: Vec<String>,
    #[serde(default)]
    tls: bool,
    tls_listen: Option<String>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    pool_key: Option<PathBuf>,
    replace_after: Option<u64>,
    lifecycle_ahead: Option<PathBuf>,
    log_delivery_seconds: Option<u32>,
    audit_keep_days: Option<u32>,
    audit_keep_size: Option<String>,
}

/// What `up` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Absolute.
    pub data: PathBuf,
    pub s3: SocketAddr,
    pub admin: SocketAddr,
    pub disk_bytes: u64,
    /// Whether somebody named the disks' size, so that a difference to those there can be told.
    pub disk_size_given: bool,
    pub accel: AccelChoice,
    pub qemu: PathBuf,
    pub region: String,
    pub s3_domains: Vec<String>,
    pub website_domains: Vec<String>,
    pub tls: Option<Tls>,
    /// Where somebody said the pool's keys are.
    pub pool_key: Option<PathBuf>,
    pub planner: planner::Settings,
    /// For tests.
    pub lifecycle_ahead: Option<PathBuf>,
    pub log_delivery: Duration,
    pub audit: Keep,
}

/// HTTPS: where, and with which certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    pub listen: SocketAddr,
    pub certificate: Certificate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificate {
    /// Made and signed here.
    LocalCa,
    Files(TlsFiles),
}

impl Config {
    pub fn resolve(args: &UpArgs) -> Result<Self, Error> {
        let file = match &args.config {
            Some(path) => read(path)?,
            None => File::default(),
        };
        let data = args.data.clone().or(file.data).unwrap_or_else(|| PathBuf::from("data"));
        let data = std::path::absolute(&data).map_err(|error| {
            Error::usage(format!("can't use the data folder {}: {error}", data.display()))
        })?;
        let s3 = args.s3.clone().or(file.s3).unwrap_or_else(|| "127.0.0.1:9000".into());
        let admin = args.admin.clone().or(file.admin).unwrap_or_else(|| "127.0.0.1:7070".into());
        let size = args.disk_size.clone().or(file.disk_size);
        let accel = args.accel.clone().or(file.accel);
        let region = args.region.clone().or(file.region);
        let files =
            https::files(args.tls_cert.clone().or(file.tls_cert), args.tls_key.clone().or(file.tls_key))?;
        let tls = tls(args.tls || file.tls, args.tls_listen.clone().or(file.tls_listen), files)?;
        Ok(Self {
            data,
            s3: address("s3", &s3)?,
            admin: address("admin", &admin)?,
            disk_size_given: size.is_some(),
            disk_bytes: size.as_deref().map_or(Ok(DEFAULT_DISK_BYTES), disk_size)?,
            accel: accel.as_deref().map_or(Ok(AccelChoice::Auto), accel_choice)?,
            qemu: args.qemu.clone().or(file.qemu).unwrap_or_else(|| "qemu-system-x86_64".into()),
            region: region_name(region)?,
            s3_domains: s3_domains(
                "s3-domain",
                if args.s3_domain.is_empty() { &file.s3_domain } else { &args.s3_domain },
            )?,
            website_domains: s3_domains(
                "s3-website-domain",
                if args.s3_website_domain.is_empty() {
                    &file.s3_website_domain
                } else {
                    &args.s3_website_domain
                },
            )?,
            tls,
            pool_key: args.pool_key.clone().or(file.pool_key),
            planner: planner_settings(args.replace_after.or(file.replace_after)),
            lifecycle_ahead: args.lifecycle_ahead.clone().or(file.lifecycle_ahead),
            log_delivery: log_delivery(args.log_delivery_seconds.or(file.log_delivery_seconds))?,
            audit: Keep::resolve(
                [args.audit_keep_days, file.audit_keep_days],
                [args.audit_keep_size.as_ref(), file.audit_keep_size.as_ref()],
            )?,
        })
    }
}

fn tls(local_ca: bool, listen: Option<String>, files: Option<TlsFiles>) -> Result<Option<Tls>, Error> {
    let certificate = match (local_ca, files) {
        (true, None) => Certificate::LocalCa,
        (false, Some(files)) => Certificate::Files(files),
        (true, Some(_)) => {
            return Err(Error::usage(
                "--tls makes a certificate, and --tls-cert names one; give one of the two",
            ));
        }
        (false, None) if listen.is_some() => {
            return Err(Error::usage(
                "--tls-listen needs a certificate; give --tls to have one made, or --tls-cert and --tls-key",
            ));
        }
        (false, None) => return Ok(None),
    };
    Ok(Some(Tls { listen: https::address(listen)?, certificate }))
}

/// The planner's settings, but for how long it waits for a disk.
pub fn planner_settings(replace_after_seconds: Option<u64>) -> planner::Settings {
    let usual = planner::Settings::default();
    let replace_after_ms = replace_after_seconds.map_or(usual.replace_after_ms, |s| s.saturating_mul(1000));
    planner::Settings { replace_after_ms, ..usual }
}

/// Reads a TOML file whose unknown keys are errors.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let failed = |why: String| Error::usage(format!("can't use the config file {}: {why}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if length > MAX_CONFIG_BYTES {
        return Err(failed(format!("it is longer than {MAX_CONFIG_BYTES} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
        let place = line.map_or(String::new(), |line| format!("line {line}: "));
        failed(format!("{place}{}", error.message()))
    })
}

pub fn address(what: &str, text: &str) -> Result<SocketAddr, Error> {
    let text = text.replacen("localhost:", "127.0.0.1:", 1);
    text.parse().map_err(|_| {
        Error::usage(format!(
            "{what} = '{text}' is not an address; write an IP address and a port, such as 127.0.0.1:9000"
        ))
    })
}

fn disk_size(text: &str) -> Result<u64, Error> {
    let bytes = proto::size::parse(text).map_err(|error| Error::usage(format!("disk-size: {error}")))?;
    if !(MIN_DISK_BYTES..=MAX_DISK_BYTES).contains(&bytes) {
        return Err(Error::usage(format!(
            "disk-size: {text} is not possible; give {} to {}",
            proto::size::show(MIN_DISK_BYTES),
            proto::size::show(MAX_DISK_BYTES)
        )));
    }
    // Segments are whole MiB, and a tail that no segment fills would only mislead.
    Ok(bytes >> 20 << 20)
}

pub fn accel_choice(text: &str) -> Result<AccelChoice, Error> {
    match text {
        "auto" => Ok(AccelChoice::Auto),
        "kvm" => Ok(AccelChoice::Kvm),
        "tcg" => Ok(AccelChoice::Tcg),
        _ => Err(Error::usage(format!("accel = '{text}' is none of auto, kvm and tcg"))),
    }
}

pub fn region_name(text: Option<String>) -> Result<String, Error> {
    let text = text.unwrap_or_else(|| "ashlar-1".into());
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.is_empty() && text.len() <= 32 && text.chars().all(good) {
        return Ok(text);
    }
    Err(Error::usage(format!("region = '{text}' is not a region's name, such as ashlar-1")))
}

/// How long lines of access logs wait, at least a second.
pub fn log_delivery(seconds: Option<u32>) -> Result<Duration, Error> {
    match seconds {
        None => Ok(LOG_DELIVERY),
        Some(0) => Err(Error::usage("log-delivery-seconds is 1 at least")),
        Some(seconds) => Ok(Duration::from_secs(seconds.into())),
    }
}

/// Domains below which hosts name buckets. An address is none: nothing can stand before it.
pub fn s3_domains(what: &str, texts: &[String]) -> Result<Vec<String>, Error> {
    let is_label = |label: &str| {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=63).contains(&label.len()) && label.chars().all(good) && !label.starts_with('-')
    };
    let check = |text: &String| {
        let is_domain = text.len() <= MAX_DOMAIN_BYTES && text.split('.').all(is_label);
        if is_domain && text.parse::<std::net::IpAddr>().is_err() {
            return Ok(text.to_ascii_lowercase());
        }
        Err(Error::usage(format!(
            "{what} = '{text}' is not a domain; write one without a port, such as s3.example.com"
        )))
    };
    texts.iter().map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    fn with_file(text: &str, change: impl FnOnce(&mut UpArgs)) -> Result<Config, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ashlar.toml");
        std::fs::write(&path, text).unwrap();
        let mut args = UpArgs { config: Some(path), ..UpArgs::default() };
        change(&mut args);
        Config::resolve(&args)
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let config =
            with_file("disk-size = '1G'\ns3 = '127.0.0.1:1'\ns3-domain = ['S3.Localhost']\n", |args| {
                args.s3 = Some("127.0.0.1:2".into());
            })
            .unwrap();
        assert_eq!(config.s3.port(), 2);
        assert_eq!(config.disk_bytes, 1 << 30);
        assert_eq!(config.admin.port(), 7070);
        assert_eq!(
            (config.region.as_str(), config.s3_domains),
            ("ashlar-1", vec!["s3.localhost".to_owned()])
        );
    }

    #[test]
    fn https_has_a_certificate_of_its_own_or_of_yours() {
        let tls = |text| with_file(text, |_| {}).unwrap().tls;
        assert_eq!(tls(""), None);
        let listen = "127.0.0.1:9443".parse().unwrap();
        assert_eq!(tls("tls = true\n"), Some(Tls { listen, certificate: Certificate::LocalCa }));
        let files = TlsFiles { certificate: "a".into(), key: "b".into() };
        let listen = "0.0.0.0:443".parse().unwrap();
        let expected = Tls { listen, certificate: Certificate::Files(files) };
        assert_eq!(tls("tls-cert = 'a'\ntls-key = 'b'\ntls-listen = '0.0.0.0:443'\n"), Some(expected));
    }

    #[test]
    fn what_is_wrong_is_one_line_that_names_it() {
        for (text, part) in [
            ("sizee = '1G'\n", "sizee"),
            ("\ndisk-size = '1X'\n", "'1X' is not a size"),
            ("disk-size = '1M'\n", "not possible"),
            ("disk-size = 5\n", "line 1"),
            ("s3 = 'nowhere'\n", "not an address"),
            ("accel = 'fast'\n", "none of auto"),
            ("region = 'a b'\n", "region"),
            ("s3-domain = ['s3.example.com:9000']\n", "not a domain"),
            ("s3-domain = ['127.0.0.1']\n", "not a domain"),
            ("s3-domain = ['a..b']\n", "not a domain"),
            ("tls-listen = '127.0.0.1:1'\n", "needs a certificate"),
            ("tls = true\ntls-listen = 'here'\n", "not an address"),
            ("tls = true\ntls-cert = 'a'\ntls-key = 'b'\n", "one of the two"),
            ("tls-cert = 'a'\n", "--tls-key is missing"),
            ("tls = 'yes'\n", "line 1"),
            ("audit-keep-days = 0\n", "1 at least"),
            ("audit-keep-size = '9X'\n", "audit-keep-size"),
            ("[disks]\n", "disks"),
            ("=", "line 1"),
        ] {
            let error = with_file(text, |_| {}).expect_err(text);
            assert_eq!(error.exit, Exit::Usage, "{text}");
            assert!(error.to_string().contains(part), "{text}: {error}");
            assert!(!error.to_string().contains('\n'), "{text}: {error}");
        }
    }
}
