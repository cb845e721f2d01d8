//! What `up` and `objectd` are told alike about HTTPS.

use crate::error::Error;
use objectd::TlsFiles;
use objectd::error::S3Error;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where HTTPS is served.
pub fn address(text: Option<String>) -> Result<SocketAddr, Error> {
    crate::config::address("tls-listen", text.as_deref().unwrap_or("127.0.0.1:9443"))
}

/// The certificate and its key: both or neither.
pub fn files(certificate: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<TlsFiles>, Error> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(Error::usage(
            "--tls-key is missing; it names the file with the certificate's key, which may be the same",
        )),
        (None, Some(_)) => Err(Error::usage("--tls-cert is missing; it names the file with the certificate")),
    }
}

/// Whether HTTPS can be served with these files, asked before anything is started.
pub fn check(files: &TlsFiles) -> Result<(), Error> {
    files.check().map_err(unusable)
}

pub fn unusable(error: S3Error) -> Error {
    Error::usage(format!("HTTPS can't be served: {}; see --tls-cert and --tls-key", error.message()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[test]
    fn a_certificate_needs_its_key() {
        let path = |name: &str| Some(PathBuf::from(name));
        assert_eq!(files(None, None).unwrap(), None);
        assert!(files(path("a"), path("b")).unwrap().is_some());
        for (certificate, key) in [(path("a"), None), (None, path("b"))] {
            assert_eq!(files(certificate, key).expect_err("half").exit, Exit::Usage);
        }
        let none = files(path("/nonexistent/a"), path("/nonexistent/b")).unwrap().unwrap();
        assert!(check(&none).expect_err("nothing there").message.contains("/nonexistent/a"));
    }
}
