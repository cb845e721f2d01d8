//! The condition keys that are known, and what type each has.
//!
//! A bucket's policy may name only these; other policies may name keys of other services. An operator that can
//! never hold for a key's type is refused everywhere.
//!
//! Source: IAM User Guide, "AWS global condition context keys"; Service Authorization Reference, "Condition keys
//! for Amazon S3".

/// The type of a key's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyType {
    Text,
    Number,
    /// An instant. Numeric operators compare its seconds since 1970.
    Date,
    Bool,
    Address,
    Arn,
}

use KeyType::{Address, Arn, Bool, Date, Number, Text};

/// Names in lower case. One that ends in `/` is followed by a tag's key.
const KEYS: &[(&str, KeyType)] = &[
    ("aws:currenttime", Date),
    ("aws:epochtime", Date),
    ("aws:federatedprovider", Text),
    ("aws:multifactorauthage", Number),
    ("aws:multifactorauthpresent", Bool),
    ("aws:principalaccount", Text),
    ("aws:principalarn", Arn),
    ("aws:principalisawsservice", Bool),
    ("aws:principalorgid", Text),
    ("aws:principalorgpaths", Text),
    ("aws:principalservicename", Text),
    ("aws:principalservicenameslist", Text),
    ("aws:principaltag/", Text),
    ("aws:principaltype", Text),
    ("aws:referer", Text),
    ("aws:requestedregion", Text),
    ("aws:requesttag/", Text),
    ("aws:resourceaccount", Text),
    ("aws:resourceorgid", Text),
    ("aws:resourceorgpaths", Text),
    ("aws:resourcetag/", Text),
    ("aws:securetransport", Bool),
    ("aws:sourceaccount", Text),
    ("aws:sourcearn", Arn),
    ("aws:sourceidentity", Text),
    ("aws:sourceip", Address),
    ("aws:sourceorgid", Text),
    ("aws:sourceorgpaths", Text),
    ("aws:sourceowner", Text),
    ("aws:sourcevpc", Text),
    ("aws:sourcevpce", Text),
    ("aws:tagkeys", Text),
    ("aws:tokenissuetime", Date),
    ("aws:useragent", Text),
    ("aws:userid", Text),
    ("aws:username", Text),
    ("aws:viaawsservice", Bool),
    ("aws:vpcsourceip", Address),
    ("s3:accessgrantsinstancearn", Arn),
    ("s3:accesspointnetworkorigin", Text),
    ("s3:authtype", Text),
    ("s3:buckettag/", Text),
    ("s3:dataaccesspointaccount", Text),
    ("s3:dataaccesspointarn", Arn),
    ("s3:delimiter", Text),
    ("s3:existingobjecttag/", Text),
    ("s3:if-match", Text),
    ("s3:if-none-match", Text),
    ("s3:inventoryaccessibleoptionalfields", Text),
    ("s3:jobsuspendedcause", Text),
    ("s3:locationconstraint", Text),
    ("s3:max-keys", Number),
    ("s3:object-lock-legal-hold", Text),
    ("s3:object-lock-mode", Text),
    ("s3:object-lock-remaining-retention-days", Number),
    ("s3:object-lock-retain-until-date", Date),
    ("s3:objectcreationoperation", Text),
    ("s3:prefix", Text),
    ("s3:requestobjecttag/", Text),
    ("s3:requestobjecttagkeys", Text),
    ("s3:resourceaccount", Text),
    ("s3:signatureage", Number),
    ("s3:signatureversion", Text),
    ("s3:tlsversion", Number),
    ("s3:versionid", Text),
    ("s3:x-amz-acl", Text),
    ("s3:x-amz-content-sha256", Text),
    ("s3:x-amz-copy-source", Text),
    ("s3:x-amz-grant-full-control", Text),
    ("s3:x-amz-grant-read", Text),
    ("s3:x-amz-grant-read-acp", Text),
    ("s3:x-amz-grant-write", Text),
    ("s3:x-amz-grant-write-acp", Text),
    ("s3:x-amz-metadata-directive", Text),
    ("s3:x-amz-object-ownership", Text),
    ("s3:x-amz-server-side-encryption", Text),
    ("s3:x-amz-server-side-encryption-aws-kms-key-id", Arn),
    ("s3:x-amz-server-side-encryption-customer-algorithm", Text),
    ("s3:x-amz-storage-class", Text),
    ("s3:x-amz-website-redirect-location", Text),
];

/// The type of the key `lower`, a name in lower case; `None` if nobody knows it.
pub(crate) fn key_type(lower: &str) -> Option<KeyType> {
    KEYS.iter()
        .find(|(name, _)| match name.strip_suffix('/') {
            Some(_) => lower.len() > name.len() && lower.starts_with(name),
            None => lower == *name,
        })
        .map(|(_, key_type)| *key_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_lower() {
        assert!(KEYS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(KEYS.iter().all(|(name, _)| *name == name.to_ascii_lowercase()));
        assert_eq!(key_type("s3:existingobjecttag/class"), Some(Text));
        assert_eq!(key_type("s3:existingobjecttag/"), None);
        assert_eq!(key_type("s3:prefixx"), None);
    }
}
