//! `AccessControlPolicy`.

use super::{GROUPS, group_of, invalid, no_addresses};
use crate::error::{S3Code, S3Error, S3Result};
use crate::listing;
use crate::xml::{self, Element, XmlWriter};
use policy::limits::MAX_ACL_GRANTS;
use policy::{Acl, AclPermission, Grant, Grantee};

const ROOT: &str = "AccessControlPolicy";

/// Reads one strictly: what is misspelt must not be taken for what isn't given.
///
/// Errors: `MalformedACLError`; `InvalidArgument` of a group that there isn't; `MethodNotAllowed` of an address.
pub fn parse(body: &[u8]) -> S3Result<Acl> {
    let root = xml::parse(body, ROOT).map_err(|error| match error.code() {
        S3Code::MalformedXML => malformed().source(error),
        _ => error,
    })?;
    let [Some(owner), Some(list)] = fields(&root, ["Owner", "AccessControlList"])? else {
        return Err(malformed());
    };
    let owner = user(owner)?;
    if list.children.len() > MAX_ACL_GRANTS || list.children.iter().any(|child| child.name != "Grant") {
        return Err(malformed());
    }
    let grants = list.children.iter().map(grant).collect::<S3Result<_>>()?;
    Ok(Acl { owner, grants })
}

fn malformed() -> S3Error {
    S3Error::new(S3Code::MalformedACLError)
}

fn fields<'a, const N: usize>(element: &'a Element, names: [&str; N]) -> S3Result<[Option<&'a Element>; N]> {
    element.fields(names).map_err(|error| malformed().source(error))
}

fn text(element: &Element) -> S3Result<&str> {
    element.only_text().map(str::trim).map_err(|error| malformed().source(error))
}

/// An account's id; the name is for people.
fn user(element: &Element) -> S3Result<String> {
    let [Some(id), name] = fields(element, ["ID", "DisplayName"])? else { return Err(malformed()) };
    name.map_or(Ok(""), text)?;
    match text(id)? {
        "" => Err(malformed()),
        id => Ok(id.to_owned()),
    }
}

fn grant(element: &Element) -> S3Result<Grant> {
    let [Some(grantee), Some(permission)] = fields(element, ["Grantee", "Permission"])? else {
        return Err(malformed());
    };
    let permission = match text(permission)? {
        "READ" => AclPermission::Read,
        "WRITE" => AclPermission::Write,
        "READ_ACP" => AclPermission::ReadAcp,
        "WRITE_ACP" => AclPermission::WriteAcp,
        "FULL_CONTROL" => AclPermission::FullControl,
        _ => return Err(malformed()),
    };
    let grantee = match grantee.xsi_type.as_deref() {
        Some("CanonicalUser") => Grantee::CanonicalUser(user(grantee)?),
        Some("Group") => {
            let [Some(uri)] = fields(grantee, ["URI"])? else { return Err(malformed()) };
            let uri = text(uri)?;
            group_of(uri).ok_or_else(|| invalid("Group/URI", uri, "Invalid group uri"))?
        }
        Some("AmazonCustomerByEmail") => {
            let [Some(_)] = fields(grantee, ["EmailAddress"])? else { return Err(malformed()) };
            return Err(no_addresses());
        }
        _ => return Err(malformed()),
    };
    Ok(Grant { grantee, permission })
}

pub fn write(acl: &Acl) -> XmlWriter {
    const USER: &str = "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"";
    const GROUP: &str = "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\"";
    let mut xml = XmlWriter::new(ROOT);
    listing::owner(&mut xml, "Owner", &acl.owner);
    xml.start("AccessControlList");
    for grant in &acl.grants {
        xml.start("Grant");
        match &grant.grantee {
            Grantee::CanonicalUser(id) => {
                xml.start_with("Grantee", USER);
                xml.text("ID", id);
                xml.text("DisplayName", id);
            }
            group => {
                xml.start_with("Grantee", GROUP);
                let uri = GROUPS.iter().find(|(known, _)| known == group).map(|(_, uri)| *uri);
                xml.optional("URI", uri);
            }
        }
        xml.end();
        let permission = match grant.permission {
            AclPermission::Read => "READ",
            AclPermission::Write => "WRITE",
            AclPermission::ReadAcp => "READ_ACP",
            AclPermission::WriteAcp => "WRITE_ACP",
            AclPermission::FullControl => "FULL_CONTROL",
        };
        xml.text("Permission", permission);
        xml.end();
    }
    xml
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::CannedAcl;

    const OWNER: &str = "<Owner><ID>o</ID></Owner>";
    const XSI: &str = "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type";

    fn code(inner: &str) -> Result<Acl, S3Code> {
        let body = format!("<{ROOT} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{inner}</{ROOT}>");
        parse(body.as_bytes()).map_err(|error| error.code())
    }

    fn list(grants: &str) -> Result<Acl, S3Code> {
        code(&format!("{OWNER}<AccessControlList>{grants}</AccessControlList>"))
    }

    fn grant(kind: &str, inner: &str, permission: &str) -> String {
        format!(
            "<Grant><Grantee {XSI}=\"{kind}\">{inner}</Grantee><Permission>{permission}</Permission></Grant>"
        )
    }

    #[test]
    fn what_is_written_is_read_again() {
        for canned in [CannedAcl::Private, CannedAcl::PublicReadWrite, CannedAcl::LogDeliveryWrite] {
            let acl = canned.expand("o & p", "b");
            assert_eq!(parse(write(&acl).finish().as_bytes()).unwrap(), acl);
        }
        let acl = CannedAcl::AuthenticatedRead.expand("o", "b");
        let text = write(&acl).finish();
        let grant = "<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\"><URI>http://\
                     acs.amazonaws.com/groups/global/AuthenticatedUsers</URI></Grantee><Permission>READ</Permission>";
        assert!(text.contains(grant), "{text}");
        assert_eq!(list(""), Ok(Acl { owner: "o".into(), grants: vec![] }));
    }

    #[test]
    fn what_is_not_understood_is_malformed() {
        let user = |inner: &str| grant("CanonicalUser", inner, "READ");
        let good = user("<ID>a</ID><DisplayName>x</DisplayName>");
        assert!(list(&good).is_ok());
        for bad in [
            user(""),
            user("<ID></ID>"),
            user("<ID>a</ID><ID>b</ID>"),
            user("<URI>a</URI>"),
            user("<ID>a</ID><EmailAddress>b</EmailAddress>"),
            grant("Group", "<ID>a</ID>", "READ"),
            grant("User", "<ID>a</ID>", "READ"),
            grant("CanonicalUser", "<ID>a</ID>", "read"),
            grant("CanonicalUser", "<ID>a</ID>", "DELETE"),
            grant("AmazonCustomerByEmail", "", "READ"),
            good.replace("<Permission>READ</Permission>", ""),
            good.replace("<Permission>", "<Permission>READ</Permission><Permission>"),
            "<Grant/>".to_owned(),
            "<Grants/>".to_owned(),
            "<Grant><Grantee><ID>a</ID></Grantee><Permission>READ</Permission></Grant>".to_owned(),
            good.repeat(MAX_ACL_GRANTS + 1),
        ] {
            assert_eq!(list(&bad), Err(S3Code::MalformedACLError), "{}", &bad[..bad.len().min(200)]);
        }
        assert_eq!(list(&good.repeat(MAX_ACL_GRANTS)).map(|acl| acl.grants.len()), Ok(MAX_ACL_GRANTS));
        for bad in ["", OWNER, "<AccessControlList/>", "<Owner/><AccessControlList/>"] {
            assert_eq!(code(bad), Err(S3Code::MalformedACLError), "{bad}");
        }
        assert_eq!(parse(b"x").unwrap_err().code(), S3Code::MalformedACLError);
        assert_eq!(list(&grant("Group", "<URI>http://all</URI>", "READ")), Err(S3Code::InvalidArgument));
        let address = grant("AmazonCustomerByEmail", "<EmailAddress>a@b</EmailAddress>", "READ");
        assert_eq!(list(&address), Err(S3Code::MethodNotAllowed));
    }
}
