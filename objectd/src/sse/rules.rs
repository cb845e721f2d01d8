//! A bucket's encryption setting: how what is put without a word of it is encrypted.
//!
//! Source: S3 API reference, PutBucketEncryption.

use super::headers::not_offered;
use crate::error::{S3Code, S3Error, S3Result};
use crate::xml::{self, Element, XmlWriter};

/// The one there is: by a pool key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketEncryption {
    /// Means something to AWS's KMS alone, and is given back.
    pub bucket_key: bool,
}

impl BucketEncryption {
    /// Errors: `MalformedXML`; `NotImplemented` for what needs a key management service.
    pub fn parse(body: &[u8]) -> S3Result<Self> {
        let malformed = || S3Error::new(S3Code::MalformedXML);
        let root = xml::parse(body, "ServerSideEncryptionConfiguration")?;
        let [rule] = &root.children[..] else { return Err(malformed()) };
        if rule.name != "Rule" {
            return Err(malformed());
        }
        let [default, bucket_key, blocked] = rule.fields([
            "ApplyServerSideEncryptionByDefault",
            "BucketKeyEnabled",
            "BlockedEncryptionTypes",
        ])?;
        if let Some(blocked) = blocked {
            check_blocked(blocked)?;
        }
        let [algorithm, kms_key] =
            default.ok_or_else(malformed)?.fields(["SSEAlgorithm", "KMSMasterKeyID"])?;
        let algorithm = algorithm.ok_or_else(malformed)?.only_text()?.trim();
        match algorithm {
            "AES256" => {}
            "aws:kms" | "aws:kms:dsse" => return Err(not_offered(algorithm)),
            _ => return Err(malformed()),
        }
        if kms_key.is_some_and(|key| !key.text.trim().is_empty()) {
            let why = "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse";
            return Err(S3Error::with(S3Code::InvalidArgument, why)
                .extra("ArgumentName", "ApplyServerSideEncryptionByDefault"));
        }
        let bucket_key = match bucket_key.map(Element::only_text).transpose()?.map(str::trim) {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(malformed()),
        };
        Ok(Self { bucket_key })
    }

    pub fn xml(self) -> XmlWriter {
        let mut xml = XmlWriter::new("ServerSideEncryptionConfiguration");
        xml.start("Rule");
        xml.start("ApplyServerSideEncryptionByDefault");
        xml.text("SSEAlgorithm", "AES256");
        xml.end();
        xml.value("BucketKeyEnabled", self.bucket_key);
        xml
    }
}

/// Kinds of encryption that nobody may ask for: NONE is what every bucket has.
fn check_blocked(blocked: &Element) -> S3Result<()> {
    let [kind] = blocked.fields(["EncryptionType"])?;
    match kind.map(Element::only_text).transpose()?.map(str::trim) {
        Some("NONE") => Ok(()),
        Some("SSE-C") => {
            let why = "Blocking SSE-C is not offered by this setting; deny it with a bucket policy that asks for \
                       s3:x-amz-server-side-encryption-customer-algorithm";
            Err(S3Error::with(S3Code::NotImplemented, why))
        }
        _ => Err(S3Error::new(S3Code::MalformedXML)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rule: &str) -> Result<bool, S3Code> {
        let body = format!("<ServerSideEncryptionConfiguration>{rule}</ServerSideEncryptionConfiguration>");
        BucketEncryption::parse(body.as_bytes()).map(|found| found.bucket_key).map_err(|error| error.code())
    }

    fn rule(algorithm: &str, more: &str) -> String {
        format!(
            "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>{algorithm}</SSEAlgorithm>\
             </ApplyServerSideEncryptionByDefault>{more}</Rule>"
        )
    }

    #[test]
    fn one_rule_of_aes256() {
        assert_eq!(parse(&rule("AES256", "")), Ok(false));
        assert_eq!(parse(&rule("AES256", "<BucketKeyEnabled>true</BucketKeyEnabled>")), Ok(true));
        for bucket_key in [false, true] {
            let text = BucketEncryption { bucket_key }.xml().finish();
            assert_eq!(BucketEncryption::parse(text.as_bytes()).unwrap(), BucketEncryption { bucket_key });
        }
        assert_eq!(parse(&rule("aws:kms", "")), Err(S3Code::NotImplemented));
        assert_eq!(parse(&rule("aws:kms:dsse", "")), Err(S3Code::NotImplemented));
        let blocked = |kind| {
            format!(
                "<BlockedEncryptionTypes><EncryptionType>{kind}</EncryptionType></BlockedEncryptionTypes>"
            )
        };
        assert_eq!(parse(&rule("AES256", &blocked("NONE"))), Ok(false));
        assert_eq!(parse(&rule("AES256", &blocked("SSE-C"))), Err(S3Code::NotImplemented));
        let kms = "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>\
                   <KMSMasterKeyID>k</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule>";
        assert_eq!(parse(kms), Err(S3Code::InvalidArgument));
        for bad in [
            "",
            "<Rule/>",
            "<Rule><BucketKeyEnabled>true</BucketKeyEnabled></Rule>",
            &rule("aes256", ""),
            &rule("AES256", "<BucketKeyEnabled>yes</BucketKeyEnabled>"),
            &rule("AES256", "<Other/>"),
            &rule("AES256", &blocked("x")),
            &(rule("AES256", "") + &rule("AES256", "")),
        ] {
            assert_eq!(parse(bad), Err(S3Code::MalformedXML), "{bad}");
        }
    }
}
