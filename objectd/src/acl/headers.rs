//! `x-amz-acl` and the `x-amz-grant-*` headers.

use super::{Asked, group_of, invalid, no_addresses};
use crate::auth::single_header;
use crate::error::{S3Code, S3Error, S3Result};
use http::{HeaderMap, HeaderName};
use policy::limits::MAX_ACL_GRANTS;
use policy::{AclPermission, CannedAcl, Grant, Grantee};

const CANNED: &str = "x-amz-acl";
const GRANT_PREFIX: &str = "x-amz-grant-";

pub fn of_headers(headers: &HeaderMap) -> S3Result<Asked> {
    let canned = single_header(headers, &HeaderName::from_static(CANNED))?;
    let mut grants = Vec::new();
    let mut granted = false;
    for name in headers.keys() {
        let Some(short) = name.as_str().strip_prefix(GRANT_PREFIX) else { continue };
        let text = single_header(headers, name)?.unwrap_or_default();
        let permission = match short {
            "read" => AclPermission::Read,
            "write" => AclPermission::Write,
            "read-acp" => AclPermission::ReadAcp,
            "write-acp" => AclPermission::WriteAcp,
            "full-control" => AclPermission::FullControl,
            _ => return Err(invalid(name.as_str(), text, "There is no such permission.")),
        };
        granted = true;
        for grantee in grantees(text).map_err(|error| error.extra("Header", name.as_str()))? {
            grants.push(Grant { grantee, permission });
        }
    }
    if grants.len() > MAX_ACL_GRANTS {
        return Err(S3Error::with(S3Code::InvalidArgument, "An ACL has at most 100 grants."));
    }
    match (canned, granted) {
        (None, false) => Ok(Asked::Nothing),
        (None, true) => Ok(Asked::Grants(grants)),
        (Some(canned), false) => CannedAcl::parse(canned)
            .map(Asked::Canned)
            .map_err(|error| invalid(CANNED, canned, "There is no such canned ACL.").source(error)),
        (Some(_), true) => {
            let why = "Specifying both Canned ACLs and Header Grants is not allowed";
            Err(S3Error::with(S3Code::InvalidRequest, why))
        }
    }
}

/// `id="...", uri="..."`
fn grantees(text: &str) -> S3Result<Vec<Grantee>> {
    let unknown = || invalid("Grantee", text, "Argument format not recognized");
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (kind, after) = rest.split_once('=').ok_or_else(unknown)?;
        let (value, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or_else(unknown)?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        let value = value.trim();
        if value.is_empty() {
            return Err(unknown());
        }
        found.push(match kind.trim().to_ascii_lowercase().as_str() {
            "id" => Grantee::CanonicalUser(value.to_owned()),
            "uri" => group_of(value).ok_or_else(|| invalid("uri", value, "Invalid group uri"))?,
            "emailaddress" => return Err(no_addresses()),
            _ => return Err(unknown()),
        });
        rest = match after.trim_start() {
            "" => "",
            // A comma says that another comes.
            after => match after.strip_prefix(',').map(str::trim_start) {
                Some("") | None => return Err(unknown()),
                Some(next) => next,
            },
        };
    }
    if found.is_empty() { Err(unknown()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn asked(pairs: &[(&'static str, &str)]) -> Result<Asked, S3Code> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        of_headers(&headers).map_err(|error| error.code())
    }

    fn to(id: &str, permission: AclPermission) -> Grant {
        Grant { grantee: Grantee::CanonicalUser(id.into()), permission }
    }

    #[test]
    fn canned_and_granted() {
        assert_eq!(asked(&[("x-other", "1")]), Ok(Asked::Nothing));
        assert_eq!(asked(&[(CANNED, "public-read")]), Ok(Asked::Canned(CannedAcl::PublicRead)));
        let all = Grant { grantee: Grantee::AllUsers, permission: AclPermission::Read };
        let text = " id=\"a,b=c\" ,uri=http://acs.amazonaws.com/groups/global/AllUsers, ID = d";
        let expected = vec![to("a,b=c", AclPermission::Read), all, to("d", AclPermission::Read)];
        assert_eq!(asked(&[("x-amz-grant-read", text)]), Ok(Asked::Grants(expected)));
        let both = asked(&[("x-amz-grant-write-acp", "id=a"), ("x-amz-grant-full-control", "id=\"a\"")]);
        let Ok(Asked::Grants(both)) = both else { panic!() };
        assert!(both.len() == 2 && both.contains(&to("a", AclPermission::WriteAcp)));
        assert!(both.contains(&to("a", AclPermission::FullControl)));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let read = "x-amz-grant-read";
        for (pairs, code) in [
            (vec![(CANNED, "public")], S3Code::InvalidArgument),
            (vec![(CANNED, "")], S3Code::InvalidArgument),
            (vec![(CANNED, "private"), (CANNED, "public-read")], S3Code::InvalidArgument),
            (vec![(CANNED, "private"), (read, "id=a")], S3Code::InvalidRequest),
            (vec![(read, "")], S3Code::InvalidArgument),
            (vec![(read, "a")], S3Code::InvalidArgument),
            (vec![(read, "id=")], S3Code::InvalidArgument),
            (vec![(read, "id=\"a")], S3Code::InvalidArgument),
            (vec![(read, "id=\"a\"b")], S3Code::InvalidArgument),
            (vec![(read, "id=a,")], S3Code::InvalidArgument),
            (vec![(read, "name=a")], S3Code::InvalidArgument),
            (vec![(read, "uri=http://acs.amazonaws.com/groups/global/allusers")], S3Code::InvalidArgument),
            (vec![(read, "emailAddress=\"a@b.example\"")], S3Code::MethodNotAllowed),
            (vec![(read, "id=a"), (read, "id=b")], S3Code::InvalidArgument),
            (vec![("x-amz-grant-delete", "id=a")], S3Code::InvalidArgument),
        ] {
            assert_eq!(asked(&pairs), Err(code), "{pairs:?}");
        }
        let many = |count| vec!["id=a"; count].join(",");
        assert!(asked(&[(read, &many(MAX_ACL_GRANTS))]).is_ok());
        assert_eq!(asked(&[(read, &many(MAX_ACL_GRANTS + 1))]), Err(S3Code::InvalidArgument));
    }
}
