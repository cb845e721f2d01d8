//! The reference's decision over everything that is attached.

use serde_json::Value;

use crate::reference::{Keys, Who, applies};

pub const OWNER: &str = "111111111111";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    None,
    Bucket(Value),
    Trust(Value),
}

/// A grant: `all`, `authenticated`, `log` or a canonical id; and `READ`, `WRITE`, `READ_ACP`, `WRITE_ACP`, `FULL_CONTROL`.
pub type GrantText = (String, &'static str);

#[derive(Clone, Debug)]
pub struct World {
    pub who: Who,
    pub action: String,
    pub resource: String,
    pub keys: Keys,
    pub identity: Vec<Value>,
    pub boundary: Option<Value>,
    pub session: Option<Vec<Value>>,
    pub attached: Resource,
    pub acls_enabled: bool,
    pub bucket_acl: Vec<GrantText>,
    pub object_acl: Vec<GrantText>,
    pub object_account: Option<String>,
    pub ignore_public_acls: bool,
    pub restrict_public_buckets: bool,
}

impl World {
    fn strongest(&self, policy: &Value, effect: &str) -> u8 {
        let new = policy["Version"] == "2012-10-17";
        let statements = policy["Statement"].as_array().unwrap();
        statements
            .iter()
            .filter(|statement| statement["Effect"] == effect)
            .map(|statement| applies(statement, new, &self.who, &self.action, &self.resource, &self.keys))
            .max()
            .unwrap_or(0)
    }

    fn speaks(&self, policies: &[Value], effect: &str) -> bool {
        policies.iter().any(|policy| self.strongest(policy, effect) > 0)
    }

    pub fn allowed(&self) -> bool {
        let action = self.action.to_lowercase();
        let root = self.who.kind == "root";
        let account = self.who.account.as_deref();
        let mut own = self.identity.clone();
        own.extend(self.boundary.clone());
        own.extend(self.session.clone().unwrap_or_default());
        // 1. An explicit deny ends it.
        if self.speaks(&own, "Deny") {
            return false;
        }
        let policy_of_policy =
            ["s3:getbucketpolicy", "s3:putbucketpolicy", "s3:deletebucketpolicy"].contains(&action.as_str());
        if let Resource::Bucket(policy) = &self.attached {
            let rescue = root && account == Some(OWNER) && policy_of_policy;
            if self.strongest(policy, "Deny") > 0 && !rescue {
                return false;
            }
            // 2. A public bucket under the restriction is for its own account.
            if self.restrict_public_buckets && public(policy) && account != Some(OWNER) {
                return false;
            }
        }
        if let Resource::Trust(policy) = &self.attached
            && self.strongest(policy, "Deny") > 0
        {
            return false;
        }
        // 3. Whose consent is the resource's?
        let on_object = [
            "s3:getobject",
            "s3:getobjectversion",
            "s3:getobjectacl",
            "s3:putobjectacl",
            "s3:getobjectversionacl",
            "s3:putobjectversionacl",
            "s3:getobjecttagging",
        ]
        .contains(&action.as_str());
        let owner = match &self.object_account {
            Some(other) if self.acls_enabled && on_object => other.as_str(),
            _ => OWNER,
        };
        let mut resource = match &self.attached {
            Resource::Bucket(policy) if owner == OWNER => self.strongest(policy, "Allow"),
            Resource::Trust(policy) => self.strongest(policy, "Allow"),
            _ => 0,
        };
        resource = resource.max(self.by_acl(&action));
        // 4. What the caller's own account gives.
        let boundary = self.boundary.as_ref().is_none_or(|policy| self.strongest(policy, "Allow") > 0);
        let session = self.session.as_ref().is_none_or(|policies| self.speaks(policies, "Allow"));
        let within = boundary && session;
        let own = (root || self.speaks(&self.identity, "Allow")) && within;
        if account.is_none() {
            return resource >= 2;
        }
        if account != Some(owner) {
            return resource > 0 && own;
        }
        let by_resource = resource == 3 || (resource == 2 && within);
        match &self.attached {
            Resource::Trust(_) => by_resource || (resource > 0 && own),
            _ => by_resource || own,
        }
    }

    fn by_acl(&self, action: &str) -> u8 {
        let (acl, needed) = match action {
            "s3:getobject" | "s3:getobjectversion" => (&self.object_acl, "READ"),
            "s3:listbucket" | "s3:listbucketversions" | "s3:listbucketmultipartuploads" => {
                (&self.bucket_acl, "READ")
            }
            "s3:putobject" => (&self.bucket_acl, "WRITE"),
            "s3:getobjectacl" | "s3:getobjectversionacl" => (&self.object_acl, "READ_ACP"),
            "s3:putobjectacl" | "s3:putobjectversionacl" => (&self.object_acl, "WRITE_ACP"),
            "s3:getbucketacl" => (&self.bucket_acl, "READ_ACP"),
            "s3:putbucketacl" => (&self.bucket_acl, "WRITE_ACP"),
            _ => return 0,
        };
        let public = acl.iter().any(|(to, _)| to == "all" || to == "authenticated");
        if !self.acls_enabled || (public && self.ignore_public_acls) {
            return 0;
        }
        let by_account = if self.who.kind == "root" { 3 } else { 1 };
        let strength = |to: &str| match to {
            "all" => 2,
            "authenticated" if self.who.account.is_some() => 2,
            "log" if self.who.kind == "service" => 3,
            id if self.who.canonical.as_deref() == Some(id) => by_account,
            _ => 0,
        };
        let gives = |given: &&GrantText| given.1 == needed || given.1 == "FULL_CONTROL";
        acl.iter().filter(gives).map(|(to, _)| strength(to)).max().unwrap_or(0)
    }
}

/// AWS's meaning of public, for the keys and values that the generator makes.
fn public(policy: &Value) -> bool {
    let open = |value: &Value| -> bool {
        match value {
            Value::Array(values) => {
                values.iter().any(|value| value.as_str().unwrap_or("*").contains(['*', '?', '$']))
            }
            other => other.as_str().unwrap_or("*").contains(['*', '?', '$']),
        }
    };
    let everyone = |statement: &Value| {
        let principal = &statement["Principal"];
        *principal == "*"
            || principal["AWS"] == "*"
            || principal["AWS"].as_array().is_some_and(|l| l.contains(&"*".into()))
    };
    let limited = |statement: &Value| {
        statement["Condition"].as_object().into_iter().flatten().any(|(operator, keys)| {
            let name = operator.strip_prefix("ForAnyValue:").unwrap_or(operator);
            keys.as_object().unwrap().iter().any(|(key, values)| match key.to_lowercase().as_str() {
                "aws:sourceip" => {
                    let values =
                        if let Value::Array(values) = values { values.clone() } else { vec![values.clone()] };
                    let narrow = |value: &Value| {
                        let text = value.as_str().unwrap();
                        let most = if text.contains(':') { 32 } else { 8 };
                        text.split_once('/').is_none_or(|(_, bits)| bits.parse::<u32>().unwrap() >= most)
                    };
                    match name {
                        "IpAddress" => values.iter().all(narrow),
                        "StringEquals" | "StringLike" | "StringEqualsIgnoreCase" => !values.iter().any(open),
                        _ => false,
                    }
                }
                "aws:userid" => {
                    ["StringEquals", "StringLike", "StringEqualsIgnoreCase"].contains(&name) && !open(values)
                }
                _ => false,
            })
        })
    };
    policy["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .any(|statement| statement["Effect"] == "Allow" && everyone(statement) && !limited(statement))
}
