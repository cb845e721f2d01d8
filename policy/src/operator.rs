//! The names of condition operators.
//!
//! Source: IAM User Guide, "IAM JSON policy elements: Condition operators".

use crate::keys::KeyType;

/// How two ordered values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    /// Whether a request's value so compares to a policy's.
    pub(crate) fn holds<T: Ord>(self, request: T, policy: T) -> bool {
        match self {
            Self::Equal => request == policy,
            Self::Less => request < policy,
            Self::LessOrEqual => request <= policy,
            Self::Greater => request > policy,
            Self::GreaterOrEqual => request >= policy,
        }
    }
}

/// What two values are compared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    Text,
    TextIgnoreCase,
    TextLike,
    Number(Order),
    Date(Order),
    Bool,
    Binary,
    Address,
    Arn,
    /// Whether the key is there at all.
    Null,
}

/// Over which of a key's values an operator goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    /// A key with one value.
    One,
    All,
    Any,
}

/// An operator with its prefix and suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operator {
    pub(crate) compare: Compare,
    pub(crate) negated: bool,
    pub(crate) set: Set,
    pub(crate) if_exists: bool,
}

const NAMES: &[(&str, Compare, bool)] = &[
    ("StringEquals", Compare::Text, false),
    ("StringNotEquals", Compare::Text, true),
    ("StringEqualsIgnoreCase", Compare::TextIgnoreCase, false),
    ("StringNotEqualsIgnoreCase", Compare::TextIgnoreCase, true),
    ("StringLike", Compare::TextLike, false),
    ("StringNotLike", Compare::TextLike, true),
    ("NumericEquals", Compare::Number(Order::Equal), false),
    ("NumericNotEquals", Compare::Number(Order::Equal), true),
    ("NumericLessThan", Compare::Number(Order::Less), false),
    ("NumericLessThanEquals", Compare::Number(Order::LessOrEqual), false),
    ("NumericGreaterThan", Compare::Number(Order::Greater), false),
    ("NumericGreaterThanEquals", Compare::Number(Order::GreaterOrEqual), false),
    ("DateEquals", Compare::Date(Order::Equal), false),
    ("DateNotEquals", Compare::Date(Order::Equal), true),
    ("DateLessThan", Compare::Date(Order::Less), false),
    ("DateLessThanEquals", Compare::Date(Order::LessOrEqual), false),
    ("DateGreaterThan", Compare::Date(Order::Greater), false),
    ("DateGreaterThanEquals", Compare::Date(Order::GreaterOrEqual), false),
    ("Bool", Compare::Bool, false),
    ("BinaryEquals", Compare::Binary, false),
    ("IpAddress", Compare::Address, false),
    ("NotIpAddress", Compare::Address, true),
    ("ArnEquals", Compare::Arn, false),
    ("ArnLike", Compare::Arn, false),
    ("ArnNotEquals", Compare::Arn, true),
    ("ArnNotLike", Compare::Arn, true),
    ("Null", Compare::Null, false),
];

impl Operator {
    /// Reads a name, exactly as AWS spells it.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (set, rest) = match name.split_once(':') {
            Some(("ForAllValues", rest)) => (Set::All, rest),
            Some(("ForAnyValue", rest)) => (Set::Any, rest),
            Some(_) => return None,
            None => (Set::One, name),
        };
        let (base, if_exists) = match rest.strip_suffix("IfExists") {
            Some(base) => (base, true),
            None => (rest, false),
        };
        let (_, compare, negated) = NAMES.iter().find(|(known, ..)| *known == base)?;
        if *compare == Compare::Null && (if_exists || set != Set::One) {
            return None;
        }
        Some(Self { compare: *compare, negated: *negated, set, if_exists })
    }

    /// Whether it can ever hold for a key of this type.
    pub(crate) fn suits(self, key: KeyType) -> bool {
        match self.compare {
            Compare::Text | Compare::TextIgnoreCase | Compare::TextLike | Compare::Null => true,
            Compare::Binary => key == KeyType::Text,
            Compare::Number(_) => matches!(key, KeyType::Number | KeyType::Date),
            Compare::Date(_) => key == KeyType::Date,
            Compare::Bool => key == KeyType::Bool,
            Compare::Address => key == KeyType::Address,
            Compare::Arn => key == KeyType::Arn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_their_affixes() {
        for (name, ..) in NAMES {
            assert!(Operator::parse(name).is_some(), "{name}");
            assert!(Operator::parse(&name.to_lowercase()).is_none(), "{name}");
            let null = *name == "Null";
            for set in ["ForAllValues:", "ForAnyValue:"] {
                assert_eq!(Operator::parse(&format!("{set}{name}")).is_none(), null);
                assert_eq!(Operator::parse(&format!("{set}{name}IfExists")).is_none(), null);
            }
        }
        for name in
            ["", "IfExists", "StringEqual", "ForSomeValues:StringEquals", "StringEqualsIfExistsIfExists"]
        {
            assert!(Operator::parse(name).is_none(), "{name}");
        }
    }
}
