//! How large a policy, and what is in it, may be.
//!
//! Source: IAM User Guide, "IAM and AWS STS quotas"; S3 User Guide, "Bucket policies".

/// Bytes of a bucket's policy, white space included.
pub const MAX_BUCKET_POLICY_BYTES: usize = 20 << 10;
/// Characters, white space not counted, of all inline policies of one user.
pub const MAX_USER_INLINE_CHARS: usize = 2048;
/// Characters, white space not counted, of all inline policies of one group.
pub const MAX_GROUP_INLINE_CHARS: usize = 5120;
/// Characters, white space not counted, of all inline policies of one role.
pub const MAX_ROLE_INLINE_CHARS: usize = 10_240;
/// Characters, white space not counted, of a managed policy; a permissions boundary is one.
pub const MAX_MANAGED_CHARS: usize = 6144;
/// Characters, white space not counted, of a role's trust policy.
pub const MAX_TRUST_CHARS: usize = 2048;
/// Characters of a session policy, white space included.
pub const MAX_SESSION_CHARS: usize = 2048;
/// Bytes of any policy's text, white space included: what the parser looks at before it counts.
pub const MAX_TEXT_BYTES: usize = 128 << 10;
/// Digits before the point of a number in a condition.
pub const MAX_INTEGER_DIGITS: usize = 18;
/// Digits after it.
pub const MAX_FRACTION_DIGITS: usize = 9;
/// Digits of an account's number.
pub const ACCOUNT_DIGITS: usize = 12;
/// Grants of one access control list.
pub const MAX_ACL_GRANTS: usize = 100;
/// The widest IPv4 range, as its prefix's length, that counts as limited when a policy is judged public.
pub const WIDEST_LIMITED_V4_BITS: u8 = 8;
/// The same for IPv6.
pub const WIDEST_LIMITED_V6_BITS: u8 = 32;
/// Days after which an access key counts as old.
pub const OLD_KEY_DAYS: u64 = 90;
/// Days without use after which it counts as unused.
pub const UNUSED_KEY_DAYS: u64 = 90;

const _: () = assert!(MAX_BUCKET_POLICY_BYTES <= MAX_TEXT_BYTES);
const _: () = assert!(MAX_ROLE_INLINE_CHARS <= MAX_TEXT_BYTES);
