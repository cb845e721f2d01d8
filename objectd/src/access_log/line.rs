//! One line of a log: AWS's 26 fields, in its order, each `-` where it is not known.

use crate::auth::uri::uri_encode;
use crate::http_date;
use std::fmt::Write as _;

/// A request and its answer. Texts are as the client sent them.
#[derive(Debug, Clone, Default)]
pub struct Line {
    pub owner: String,
    pub bucket: String,
    pub time_ms: u64,
    pub remote: Option<String>,
    pub requester: Option<String>,
    pub request: String,
    pub operation: String,
    pub key: Option<String>,
    /// `GET /path HTTP/1.1`
    pub uri: Option<String>,
    pub status: Option<u16>,
    pub error: Option<String>,
    pub sent: u64,
    pub size: Option<u64>,
    /// From the request's head to the last byte of the answer, and to its first.
    pub total_ms: Option<u64>,
    pub turnaround_ms: Option<u64>,
    pub referer: Option<String>,
    pub agent: Option<String>,
    pub version: Option<String>,
    pub host_id: String,
    pub signature: Option<&'static str>,
    pub auth: Option<&'static str>,
    pub host: Option<String>,
    pub tls: Option<&'static str>,
}

impl Line {
    /// Adds it, with its end.
    pub fn write(&self, out: &mut String) {
        let time = http_date::access_log(self.time_ms);
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let key = self.key.as_ref().map(|key| uri_encode(key.as_bytes(), true));
        let fields = [
            plain(Some(&self.owner)),
            plain(Some(&self.bucket)),
            format!("[{time}]"),
            plain(self.remote.as_deref()),
            plain(self.requester.as_deref()),
            plain(Some(&self.request)),
            plain(Some(&self.operation)),
            plain(key.as_deref()),
            quoted(self.uri.as_deref()),
            plain(number(self.status.map(u64::from)).as_deref()),
            plain(self.error.as_deref()),
            plain(number(Some(self.sent).filter(|sent| *sent > 0)).as_deref()),
            plain(number(self.size).as_deref()),
            plain(number(self.total_ms).as_deref()),
            plain(number(self.turnaround_ms).as_deref()),
            quoted(self.referer.as_deref()),
            quoted(self.agent.as_deref()),
            plain(self.version.as_deref()),
            plain(Some(&self.host_id)),
            plain(self.signature),
            // The cipher suite.
            plain(None),
            plain(self.auth),
            plain(self.host.as_deref()),
            plain(self.tls),
            // The access point's ARN, and whether an ACL was needed: there are neither.
            plain(None),
            plain(None),
        ];
        let _ = writeln!(out, "{}", fields.join(" "));
    }
}

/// A field between spaces: what would end it is percent-encoded.
fn plain(text: Option<&str>) -> String {
    encoded(text, |byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'[' | b']'))
}

/// A field in quotes, which may hold spaces. Nothing in it ends it, or its line.
fn quoted(text: Option<&str>) -> String {
    format!("\"{}\"", encoded(text, |byte| (byte.is_ascii_graphic() || byte == b' ') && byte != b'"'))
}

fn encoded(text: Option<&str>, stays: impl Fn(u8) -> bool) -> String {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return "-".to_owned() };
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if stays(byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// AWS's name of an operation: `REST.METHOD.RESOURCE`.
pub fn operation(name: Option<&str>, method: &str, has_key: bool) -> String {
    match name {
        Some("CopyObject") => return "REST.COPY.OBJECT".to_owned(),
        Some("UploadPartCopy") => return "REST.COPY.PART".to_owned(),
        Some("WebsiteVisit") => {
            return format!("WEBSITE.{method}.{}", if has_key { "OBJECT" } else { "BUCKET" });
        }
        _ => {}
    }
    let known = name.and_then(|name| RESOURCES.iter().find(|(end, _)| name.ends_with(end)));
    let resource = match known {
        Some((_, resource)) => resource,
        None if method == "OPTIONS" => "PREFLIGHT",
        None if has_key => "OBJECT",
        None => "BUCKET",
    };
    format!("REST.{method}.{resource}")
}

/// By how the operation's name ends; the longer come first.
const RESOURCES: [(&str, &str); 33] = [
    ("CreateMultipartUpload", "UPLOADS"),
    ("ListMultipartUploads", "UPLOADS"),
    ("MultipartUpload", "UPLOAD"),
    ("ListParts", "UPLOAD"),
    ("UploadPart", "PART"),
    ("DeleteObjects", "MULTI_OBJECT_DELETE"),
    ("ListObjectVersions", "BUCKETVERSIONS"),
    ("BucketLocation", "LOCATION"),
    ("BucketVersioning", "VERSIONING"),
    ("Acl", "ACL"),
    ("OwnershipControls", "OWNERSHIP_CONTROLS"),
    ("BucketPolicyStatus", "POLICY_STATUS"),
    ("BucketPolicy", "BUCKETPOLICY"),
    ("PublicAccessBlock", "PUBLIC_ACCESS_BLOCK"),
    ("BucketCors", "CORS"),
    ("BucketTagging", "TAGGING"),
    ("BucketLifecycleConfiguration", "LIFECYCLE"),
    ("BucketLifecycle", "LIFECYCLE"),
    ("BucketWebsite", "WEBSITE"),
    ("BucketNotificationConfiguration", "NOTIFICATION"),
    ("BucketLogging", "LOGGING_STATUS"),
    ("BucketEncryption", "ENCRYPTION"),
    ("BucketReplication", "REPLICATION"),
    ("ObjectLockConfiguration", "OBJECT_LOCK_CONFIGURATION"),
    ("ObjectTagging", "OBJECT_TAGGING"),
    ("ObjectRetention", "OBJECT_LOCK_RETENTION"),
    ("ObjectLegalHold", "OBJECT_LOCK_LEGALHOLD"),
    ("ObjectAttributes", "OBJECT_ATTRIBUTES"),
    ("ListObjectsV2", "BUCKET"),
    ("ListObjects", "BUCKET"),
    ("HeadBucket", "BUCKET"),
    ("Bucket", "BUCKET"),
    ("Object", "OBJECT"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_documented() {
        let line = Line {
            owner: "o".into(),
            bucket: "buc".into(),
            time_ms: 1_549_411_238_999,
            remote: Some("192.0.2.3".into()),
            requester: None,
            request: "3E57427F33A59F07".into(),
            operation: operation(Some("GetObject"), "GET", true),
            key: Some("photos/a b\"é.jpg".into()),
            uri: Some("GET /buc/photos/a%20b?x=\"\n HTTP/1.1".into()),
            status: Some(404),
            error: Some("NoSuchKey".into()),
            sent: 0,
            size: Some(0),
            total_ms: Some(7),
            turnaround_ms: Some(0),
            referer: None,
            agent: Some("a \"b\"\r\nevil - - []".into()),
            version: None,
            host_id: "gateway".into(),
            signature: Some("SigV4"),
            auth: Some("AuthHeader"),
            host: Some("h:1 x".into()),
            tls: Some("TLSv1.3"),
        };
        let mut out = String::new();
        line.write(&mut out);
        assert_eq!(
            out,
            "o buc [06/Feb/2019:00:00:38 +0000] 192.0.2.3 - 3E57427F33A59F07 REST.GET.OBJECT \
             photos/a%20b%22%C3%A9.jpg \"GET /buc/photos/a%20b?x=%22%0A HTTP/1.1\" 404 NoSuchKey - 0 7 0 \"-\" \
             \"a %22b%22%0D%0Aevil - - []\" - gateway SigV4 - AuthHeader h:1%20x TLSv1.3 - -\n"
        );
        let mut none = String::new();
        Line { host_id: "g".into(), ..Line::default() }.write(&mut none);
        assert_eq!(none.lines().count(), 1);
        assert!(
            none.starts_with("- - [01/Jan/1970:00:00:00 +0000] - - - - - \"-\" - - - - - - \"-\" \"-\" - g ")
        );
    }

    #[test]
    fn operations_have_awss_names() {
        let cases = [
            ("PutObject", "PUT", true, "REST.PUT.OBJECT"),
            ("HeadObject", "HEAD", true, "REST.HEAD.OBJECT"),
            ("CopyObject", "PUT", true, "REST.COPY.OBJECT"),
            ("UploadPartCopy", "PUT", true, "REST.COPY.PART"),
            ("UploadPart", "PUT", true, "REST.PUT.PART"),
            ("CreateMultipartUpload", "POST", true, "REST.POST.UPLOADS"),
            ("CompleteMultipartUpload", "POST", true, "REST.POST.UPLOAD"),
            ("AbortMultipartUpload", "DELETE", true, "REST.DELETE.UPLOAD"),
            ("ListMultipartUploads", "GET", false, "REST.GET.UPLOADS"),
            ("DeleteObjects", "POST", false, "REST.POST.MULTI_OBJECT_DELETE"),
            ("ListObjectsV2", "GET", false, "REST.GET.BUCKET"),
            ("ListObjectVersions", "GET", false, "REST.GET.BUCKETVERSIONS"),
            ("GetBucketPolicyStatus", "GET", false, "REST.GET.POLICY_STATUS"),
            ("GetBucketPolicy", "GET", false, "REST.GET.BUCKETPOLICY"),
            ("GetBucketLogging", "GET", false, "REST.GET.LOGGING_STATUS"),
            ("GetObjectAcl", "GET", true, "REST.GET.ACL"),
            ("GetObjectTagging", "GET", true, "REST.GET.OBJECT_TAGGING"),
            ("DeleteBucket", "DELETE", false, "REST.DELETE.BUCKET"),
            ("WebsiteVisit", "GET", true, "WEBSITE.GET.OBJECT"),
        ];
        for (name, method, has_key, expected) in cases {
            assert_eq!(operation(Some(name), method, has_key), expected);
        }
        assert_eq!(operation(None, "OPTIONS", true), "REST.OPTIONS.PREFLIGHT");
        assert_eq!(operation(None, "GET", true), "REST.GET.OBJECT");
        assert_eq!(operation(None, "GET", false), "REST.GET.BUCKET");
    }
}
