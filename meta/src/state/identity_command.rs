//! Which function makes each change of accounts, identities and their keys, and answers each question about them.

use super::identity_keys::{self, Holder};
use super::kv::Read;
use super::txn::Txn;
use super::{Outcome, access, identity, identity_details, key_use, policy_details};
use crate::identity_command::{IdentityAnswer, IdentityCommand, IdentityPage, IdentityQuery};

pub fn apply(txn: &mut Txn<'_>, command: IdentityCommand) -> Outcome<()> {
    use IdentityCommand as C;
    match command {
        C::CreateAccount(record) => identity::create_account(txn, record),
        C::PutAccountBlock { account, block } => identity::put_block(txn, &account, block),
        C::CreateIdentity(record) => identity::create(txn, &record),
        C::DeleteIdentity(of) => identity::delete(txn, &of),
        C::PutInlinePolicy { of, policy } => identity::put_inline(txn, &of, policy),
        C::DeleteInlinePolicy { of, name } => identity::delete_inline(txn, &of, &name),
        C::PutTrust { role, text, bound } => identity::put_trust(txn, &role, text, bound),
        C::SetMember { group, user, member } => identity::set_member(txn, &group, &user, member),
        C::CreateManagedPolicy(policy) => identity::create_managed(txn, &policy),
        C::DeleteManagedPolicy { arn } => identity::delete_managed(txn, &arn),
        C::SetAttached { of, arn, attached } => identity::set_attached(txn, &of, &arn, attached),
        C::CreateIdentityKey(key) => identity_keys::create(txn, key),
        C::SetIdentityKeyActive { account, user, id, active } => {
            identity_keys::set_active(txn, holder(&account, &user), &id, active)
        }
        C::DeleteIdentityKey { account, user, id } => {
            identity_keys::delete(txn, holder(&account, &user), &id)
        }
        C::PutBoundPolicy { bucket, id, text, public, bound } => {
            access::put_policy(txn, (&bucket, id), text, public)?;
            access::bind(txn, id, &bound)
        }
        C::NoteKeyUses(uses) => key_use::note(txn, &uses),
        C::CreateDetailedIdentity { record, details } => identity_details::create(txn, &record, details),
        C::SetBoundary { of, arn } => identity_details::set_boundary(txn, &of, arn),
        C::SetIdentityTags { of, put, remove } => identity_details::set_tags(txn, &of, put, &remove),
        C::CreateTaggedPolicy { policy, tags } => policy_details::create(txn, &policy, tags),
        C::SetPolicyTags { arn, put, remove } => policy_details::set_tags(txn, &arn, put, &remove),
        C::AddPolicyVersion { arn, version, default } => {
            policy_details::add_version(txn, &arn, version, default)
        }
        C::SetDefaultPolicyVersion { arn, number } => policy_details::set_default(txn, &arn, number),
        C::DeletePolicyVersion { arn, number } => policy_details::delete_version(txn, &arn, number),
        C::UpdateIdentity { of, name, path } => identity_details::update(txn, &of, name, path),
        C::UpdateRole { of, description, max_session_s } => {
            identity_details::update_role(txn, &of, description, max_session_s)
        }
    }
}

pub fn answer(view: &dyn Read, query: &IdentityQuery) -> Outcome<IdentityAnswer> {
    use IdentityAnswer as A;
    use IdentityQuery as Q;
    Ok(match query {
        Q::Identify { key } => A::Identified(Box::new(identity_keys::identify(view, key)?)),
        Q::Effective(of) => A::Effective(Box::new(identity::effective(view, of)?)),
        Q::Identities { kind, account, path, after, limit } => {
            A::Identities(identity::page(view, (*kind, account), path, after.as_deref(), *limit)?)
        }
        Q::Members(group) => {
            identity::identity(view, group)?;
            A::Identities(IdentityPage { identities: identity::members(view, group)?, next: None })
        }
        Q::IdentityKeys { account, user } => {
            A::IdentityKeys(identity_keys::list(view, holder(account, user))?)
        }
        Q::Accounts => A::Accounts(identity::accounts(view)?),
        Q::Account { number } => A::Account(identity::account(view, number)?),
        Q::AccountExists { number } => A::Exists(identity_keys::account_exists(view, number)?),
        Q::ManagedPolicy { arn } => A::ManagedPolicies(vec![identity::managed(view, arn)?]),
        Q::ManagedPolicies { account } => A::ManagedPolicies(identity::all_managed(view, account)?),
        Q::KeyUses { keys } => A::KeyUses(key_use::of(view, keys)?),
        Q::FullPolicy { arn } => A::FullPolicies(vec![policy_details::full(view, arn)?]),
        Q::FullPolicies { account } => A::FullPolicies(policy_details::all(view, account)?),
        Q::PolicyEntities { arn } => A::PolicyEntities(identity_details::entities(view, arn)?),
    })
}

fn holder<'a>(account: &'a str, user: &'a Option<String>) -> Holder<'a> {
    Holder { account, user: user.as_deref() }
}
