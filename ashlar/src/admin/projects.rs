//! Projects: accounts with a root key each. Secrets are sealed here, where the pool's token is known.

use super::Shared;
use crate::api::{CreateProject, ProjectKey, ProjectView};
use crate::error::Error;
use meta::identity::{AccountRecord, IdentityKey};
use meta::identity_command::IdentityCommand;
use meta::quota::Counted;
use objectd::auth::mint;
use objectd::auth::seal::{Sealer, of_key};
use rt::clock::{Clock, SystemClock};
use rt::rng::SystemRng;

impl Shared {
    pub async fn projects(&self) -> Result<Vec<ProjectView>, Error> {
        let counts = self.meta.project_counts().await?;
        let counted = |account: &AccountRecord| {
            let found = counts.iter().find(|count| count.account == account.number);
            found.map(|count| count.counted).unwrap_or_default()
        };
        let all = self.meta.accounts().await?;
        Ok(all.iter().map(|account| ProjectView::new(account, counted(account))).collect())
    }

    /// Makes an account, and its root's first key, whose secret is shown in this answer and never again.
    pub async fn create_project(&self, asked: CreateProject) -> Result<ProjectKey, Error> {
        let account = AccountRecord {
            number: mint::account(&mut SystemRng),
            name: asked.name,
            created_ms: SystemClock.wall().0,
            block: None,
            keys: Vec::new(),
        };
        self.meta.change_identity(IdentityCommand::CreateAccount(account.clone())).await?;
        let (access_key_id, secret_access_key) = self.root_key(&account).await?;
        let project = ProjectView::new(&account, Counted::default());
        Ok(ProjectKey { project, access_key_id, secret_access_key })
    }

    /// Another key for the root of a project that lost its own.
    pub async fn create_project_key(&self, name: String) -> Result<ProjectKey, Error> {
        let account = self.find_account(&name).await?;
        let (access_key_id, secret_access_key) = self.root_key(&account).await?;
        let project = self.project(&account.number).await?;
        Ok(ProjectKey { project, access_key_id, secret_access_key })
    }

    async fn root_key(&self, account: &AccountRecord) -> Result<(String, String), Error> {
        let (id, secret) = (mint::key_id(&mut SystemRng, "AKIA"), mint::secret(&mut SystemRng));
        let key = IdentityKey {
            id: id.clone(),
            account: account.number.clone(),
            user: None,
            secret: Sealer::new(&self.token).seal(&mut SystemRng, &of_key(&id), &secret),
            active: true,
            created_ms: SystemClock.wall().0,
        };
        self.meta.change_identity(IdentityCommand::CreateIdentityKey(key)).await?;
        Ok((id, secret))
    }
}
