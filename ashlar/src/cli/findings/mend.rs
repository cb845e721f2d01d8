//! Commands that mend: lines for a shell, and policies without what is too much in them.

use meta::identity::IdentityRecord;
use serde_json::{Value, json};

/// All four settings of a public access block.
const ALL: &str =
    "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true";

/// What of a policy is too much: in the statement of this index, this principal; `*` is the whole statement.
pub type TooMuch<'a> = (usize, &'a str);

pub fn block_bucket(bucket: &str) -> String {
    format!("aws s3api put-public-access-block --bucket {bucket} --public-access-block-configuration {ALL}")
}

pub fn block_account(account: &str) -> String {
    format!(
        "aws s3control put-public-access-block --account-id {account} --public-access-block-configuration {ALL}"
    )
}

pub fn private_acl(bucket: &str) -> String {
    format!("aws s3api put-bucket-acl --bucket {bucket} --acl private")
}

pub fn keep_versions(bucket: &str) -> String {
    format!("aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled")
}

pub fn encrypt(bucket: &str) -> String {
    let rule = r#"{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"AES256"}}]}"#;
    let rule = quoted(rule);
    format!("aws s3api put-bucket-encryption --bucket {bucket} --server-side-encryption-configuration {rule}")
}

pub fn bucket_policy(bucket: &str, text: &str, too_much: &[TooMuch<'_>]) -> String {
    match without(text, too_much) {
        Some(rest) => format!("aws s3api put-bucket-policy --bucket {bucket} --policy {}", quoted(&rest)),
        None => format!("aws s3api delete-bucket-policy --bucket {bucket}"),
    }
}

/// A role has a trust policy always: if nothing is left of it, one that trusts nobody.
pub fn trust(role: &IdentityRecord, text: &str, too_much: &[TooMuch<'_>]) -> String {
    let nobody = || {
        let account = &role.of.account;
        let deny = json!({"Effect": "Deny", "Principal": {"AWS": account}, "Action": "sts:AssumeRole"});
        json!({"Version": "2012-10-17", "Statement": [deny]}).to_string()
    };
    let rest = without(text, too_much).unwrap_or_else(nobody);
    let name = &role.of.name;
    format!("aws iam update-assume-role-policy --role-name {name} --policy-document {}", quoted(&rest))
}

/// `None`: the root's.
pub fn deactivate_key(user: Option<&str>, id: &str) -> String {
    let of = user.map(|user| format!(" --user-name {user}")).unwrap_or_default();
    format!("aws iam update-access-key{of} --access-key-id {id} --status Inactive")
}

/// The text without this; `None` if nothing is left.
fn without(text: &str, too_much: &[TooMuch<'_>]) -> Option<String> {
    let mut policy: Value = serde_json::from_str(text).ok()?;
    let statements = policy.get_mut("Statement")?;
    if !statements.is_array() {
        *statements = Value::Array(vec![statements.take()]);
    }
    let all = statements.as_array_mut()?;
    let mut index = 0;
    all.retain_mut(|statement| {
        let here: Vec<&str> = too_much.iter().filter(|(at, _)| *at == index).map(|(_, who)| *who).collect();
        index += 1;
        here.is_empty() || !here.contains(&"*") && names_others(statement, &here)
    });
    (!all.is_empty()).then(|| policy.to_string())
}

/// Takes these principals out of a statement, and says whether it names others.
fn names_others(statement: &mut Value, who: &[&str]) -> bool {
    let Some(kinds) = statement.get_mut("Principal").and_then(Value::as_object_mut) else { return false };
    let is_one = |name: &Value| {
        let name = name.as_str().unwrap_or_default();
        let root = name.strip_prefix("arn:aws:iam::").and_then(|rest| rest.strip_suffix(":root"));
        who.contains(&name) || root.is_some_and(|account| who.contains(&account))
    };
    kinds.retain(|_, names| match names {
        Value::Array(names) => {
            names.retain(|name| !is_one(name));
            !names.is_empty()
        }
        name => !is_one(name),
    });
    !kinds.is_empty()
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_too_much_goes() {
        let text = r#"{"Version": "2012-10-17", "Statement": [
            {"Sid": "a", "Effect": "Allow", "Principal": {"AWS": ["1", "arn:aws:iam::2:root", "3"]}, "Action": "*"},
            {"Sid": "b", "Effect": "Allow", "Principal": "*", "Action": "*"},
            {"Sid": "c", "Effect": "Deny", "Principal": "*", "Action": "*"}]}"#;
        let rest = |too_much: &[TooMuch<'_>]| -> Value {
            serde_json::from_str(&without(text, too_much).unwrap()).unwrap()
        };
        let left = rest(&[(0, "2"), (0, "3"), (1, "*")]);
        assert_eq!(left["Statement"][0]["Principal"], json!({"AWS": ["1"]}));
        assert_eq!(left["Statement"][1]["Sid"], "c");
        let left = rest(&[(0, "1"), (0, "2"), (0, "3")]);
        assert_eq!(left["Statement"].as_array().unwrap().len(), 2);
        assert_eq!(without(r#"{"Statement": {"Principal": {"AWS": "2"}}}"#, &[(0, "2")]), None);
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
