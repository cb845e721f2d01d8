//! The calls of IAM and STS that are served, by name.

use super::tags::Tagged;
use meta::identity::IdentityKind;
use meta::identity::IdentityKind::{Group, Role, User};

/// Which of the two a call is of. The signature must be made for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Iam,
    Sts,
}

impl Service {
    /// As the signature's scope has it.
    pub const fn scope(self) -> &'static str {
        match self {
            Self::Iam => "iam",
            Self::Sts => "sts",
        }
    }

    /// The namespace of its answers.
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::Iam => "https://iam.amazonaws.com/doc/2010-05-08/",
            Self::Sts => "https://sts.amazonaws.com/doc/2011-06-15/",
        }
    }

    pub const fn version(self) -> &'static str {
        match self {
            Self::Iam => "2010-05-08",
            Self::Sts => "2011-06-15",
        }
    }
}

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Do {
    Create(IdentityKind),
    Get(IdentityKind),
    List(IdentityKind),
    Delete(IdentityKind),
    PutInline(IdentityKind),
    GetInline(IdentityKind),
    ListInline(IdentityKind),
    DeleteInline(IdentityKind),
    Attach(IdentityKind),
    Detach(IdentityKind),
    ListAttached(IdentityKind),
    UpdateTrust,
    Update(IdentityKind),
    UpdateRole { shows: bool },
    PutBoundary(IdentityKind),
    DeleteBoundary(IdentityKind),
    Tag(Tagged),
    Untag(Tagged),
    ListTags(Tagged),
    CreateKey,
    ListKeys,
    UpdateKey,
    DeleteKey,
    KeyLastUsed,
    CreatePolicy,
    GetPolicy,
    CreateVersion,
    GetVersion,
    ListVersions,
    SetDefaultVersion,
    DeleteVersion,
    ListEntities,
    AccountSummary,
    AuthorizationDetails,
    ListPolicies,
    DeletePolicy,
    SetMember { member: bool },
    ListGroupsOfUser,
    CallerIdentity,
    SessionToken,
    FederationToken,
    AssumeRole,
}

/// One call.
#[derive(Debug, PartialEq, Eq)]
pub struct Action {
    pub service: Service,
    pub name: &'static str,
    /// What it needs to be allowed.
    pub permission: &'static str,
    /// The elements of its answer.
    pub response: &'static str,
    pub result: &'static str,
    pub does: Do,
}

macro_rules! actions {
    ($($service:ident $prefix:literal { $($name:ident $does:expr;)* })*) => {
        pub const ACTIONS: &[Action] = &[$($(Action {
            service: Service::$service,
            name: stringify!($name),
            permission: concat!($prefix, ":", stringify!($name)),
            response: concat!(stringify!($name), "Response"),
            result: concat!(stringify!($name), "Result"),
            does: $does,
        },)*)*];
    };
}

actions! {
    Iam "iam" {
        CreateUser Do::Create(User);
        GetUser Do::Get(User);
        ListUsers Do::List(User);
        UpdateUser Do::Update(User);
        DeleteUser Do::Delete(User);
        PutUserPermissionsBoundary Do::PutBoundary(User);
        DeleteUserPermissionsBoundary Do::DeleteBoundary(User);
        TagUser Do::Tag(Tagged::Identity(User));
        UntagUser Do::Untag(Tagged::Identity(User));
        ListUserTags Do::ListTags(Tagged::Identity(User));
        PutUserPolicy Do::PutInline(User);
        GetUserPolicy Do::GetInline(User);
        ListUserPolicies Do::ListInline(User);
        DeleteUserPolicy Do::DeleteInline(User);
        AttachUserPolicy Do::Attach(User);
        DetachUserPolicy Do::Detach(User);
        ListAttachedUserPolicies Do::ListAttached(User);
        CreateAccessKey Do::CreateKey;
        ListAccessKeys Do::ListKeys;
        UpdateAccessKey Do::UpdateKey;
        DeleteAccessKey Do::DeleteKey;
        GetAccessKeyLastUsed Do::KeyLastUsed;
        CreateGroup Do::Create(Group);
        GetGroup Do::Get(Group);
        ListGroups Do::List(Group);
        UpdateGroup Do::Update(Group);
        DeleteGroup Do::Delete(Group);
        PutGroupPolicy Do::PutInline(Group);
        GetGroupPolicy Do::GetInline(Group);
        ListGroupPolicies Do::ListInline(Group);
        DeleteGroupPolicy Do::DeleteInline(Group);
        AttachGroupPolicy Do::Attach(Group);
        DetachGroupPolicy Do::Detach(Group);
        ListAttachedGroupPolicies Do::ListAttached(Group);
        AddUserToGroup Do::SetMember { member: true };
        RemoveUserFromGroup Do::SetMember { member: false };
        ListGroupsForUser Do::ListGroupsOfUser;
        CreateRole Do::Create(Role);
        GetRole Do::Get(Role);
        ListRoles Do::List(Role);
        UpdateRole Do::UpdateRole { shows: false };
        UpdateRoleDescription Do::UpdateRole { shows: true };
        DeleteRole Do::Delete(Role);
        PutRolePermissionsBoundary Do::PutBoundary(Role);
        DeleteRolePermissionsBoundary Do::DeleteBoundary(Role);
        TagRole Do::Tag(Tagged::Identity(Role));
        UntagRole Do::Untag(Tagged::Identity(Role));
        ListRoleTags Do::ListTags(Tagged::Identity(Role));
        PutRolePolicy Do::PutInline(Role);
        GetRolePolicy Do::GetInline(Role);
        ListRolePolicies Do::ListInline(Role);
        DeleteRolePolicy Do::DeleteInline(Role);
        AttachRolePolicy Do::Attach(Role);
        DetachRolePolicy Do::Detach(Role);
        ListAttachedRolePolicies Do::ListAttached(Role);
        UpdateAssumeRolePolicy Do::UpdateTrust;
        CreatePolicy Do::CreatePolicy;
        GetPolicy Do::GetPolicy;
        CreatePolicyVersion Do::CreateVersion;
        GetPolicyVersion Do::GetVersion;
        ListPolicyVersions Do::ListVersions;
        SetDefaultPolicyVersion Do::SetDefaultVersion;
        DeletePolicyVersion Do::DeleteVersion;
        ListEntitiesForPolicy Do::ListEntities;
        TagPolicy Do::Tag(Tagged::Policy);
        UntagPolicy Do::Untag(Tagged::Policy);
        ListPolicyTags Do::ListTags(Tagged::Policy);
        ListPolicies Do::ListPolicies;
        DeletePolicy Do::DeletePolicy;
        GetAccountSummary Do::AccountSummary;
        GetAccountAuthorizationDetails Do::AuthorizationDetails;
    }
    Sts "sts" {
        GetCallerIdentity Do::CallerIdentity;
        GetSessionToken Do::SessionToken;
        GetFederationToken Do::FederationToken;
        AssumeRole Do::AssumeRole;
    }
}

impl Action {
    /// The call of this name and API version; `None` if it isn't served.
    pub fn find(name: &str, version: &str) -> Option<&'static Self> {
        ACTIONS.iter().find(|action| action.name == name && action.service.version() == version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_by_name_and_version_only() {
        assert_eq!(
            Action::find("CreateUser", "2010-05-08").map(|call| call.permission),
            Some("iam:CreateUser")
        );
        assert_eq!(Action::find("AssumeRole", "2011-06-15").map(|call| call.does), Some(Do::AssumeRole));
        for (name, version) in
            [("CreateUser", "2011-06-15"), ("createuser", "2010-05-08"), ("", ""), ("CreateUser", "")]
        {
            assert_eq!(Action::find(name, version), None, "{name} {version}");
        }
        let mut names: Vec<_> = ACTIONS.iter().map(|action| action.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ACTIONS.len());
    }
}
