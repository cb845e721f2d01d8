//! The credential scope: which key, day, region and service a signature is for.

/// `AKID/20130524/us-east-1/s3/aws4_request`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    pub access_key_id: String,
    /// `YYYYMMDD`.
    pub date: String,
    pub region: String,
    pub service: String,
}

impl Scope {
    /// `None` unless it has all five parts, none empty, and ends in `aws4_request`.
    pub fn parse(credential: &str) -> Option<Scope> {
        // From the right, since nothing but the key id could hold a slash.
        let mut parts = credential.rsplitn(5, '/');
        let terminator = parts.next()?;
        let service = parts.next()?;
        let region = parts.next()?;
        let date = parts.next()?;
        let access_key_id = parts.next()?;
        let date_ok = date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit());
        let rest_ok = !access_key_id.is_empty()
            && access_key_id.bytes().all(|b| b.is_ascii_graphic())
            && [region, service].iter().all(|part| !part.is_empty());
        (terminator == "aws4_request" && date_ok && rest_ok).then(|| Scope {
            access_key_id: access_key_id.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
        })
    }

    /// The part of the scope that is signed: all but the key id.
    pub fn signed_part(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_credential_apart() {
        let scope = Scope::parse("AKID/20130524/us-east-1/s3/aws4_request").expect("scope");
        assert_eq!(scope.access_key_id, "AKID");
        assert_eq!(scope.signed_part(), "20130524/us-east-1/s3/aws4_request");
    }

    #[test]
    fn refuses_what_is_not_one() {
        for bad in [
            "",
            "AKID",
            "/20130524/us-east-1/s3/aws4_request",
            "AKID/2013052/us-east-1/s3/aws4_request",
            "AKID/20130524//s3/aws4_request",
            "AKID/20130524/us-east-1/s3/aws4_Request",
            "20130524/us-east-1/s3/aws4_request",
            "A\nB/20130524/us-east-1/s3/aws4_request",
        ] {
            assert_eq!(Scope::parse(bad), None, "{bad}");
        }
    }
}
