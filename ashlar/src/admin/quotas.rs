//! Usage and quotas of buckets and projects.

use super::Shared;
use crate::api::{BucketPage, BucketView, ProjectView, SetQuota};
use crate::error::{Error, Exit};
use crate::fleet::Metric;
use crate::limits::{MAX_BUCKETS_PAGE, MAX_PROJECT_SERIES};
use meta::identity::{AccountRecord, account_of};
use meta::quota::{BucketCount, ProjectCount, QuotaOf};

impl Shared {
    pub async fn buckets(&self, after: Option<String>) -> Result<BucketPage, Error> {
        let page = self.meta.bucket_counts(after.filter(|after| !after.is_empty()), MAX_BUCKETS_PAGE).await?;
        Ok(BucketPage { buckets: page.buckets.into_iter().map(BucketView::from).collect(), next: page.next })
    }

    pub async fn bucket(&self, name: &str) -> Result<BucketView, Error> {
        let record = self.meta.bucket(name).await?;
        let counted = self.meta.counted(QuotaOf::Bucket(name.to_owned())).await?;
        let account = account_of(&record.owner).to_owned();
        Ok(BucketCount { name: record.name, account, counted }.into())
    }

    pub async fn set_bucket_quota(self, name: String, asked: SetQuota) -> Result<BucketView, Error> {
        self.meta.set_quota(QuotaOf::Bucket(name.clone()), asked.bytes, asked.objects).await?;
        self.bucket(&name).await
    }

    /// The account of a name or number.
    pub async fn find_account(&self, name: &str) -> Result<AccountRecord, Error> {
        let all = self.meta.accounts().await?;
        let account = all.into_iter().find(|account| account.name == name || account.number == name);
        account.ok_or_else(|| {
            let why = format!("there is no project '{name}'; ashlar project list shows those there are");
            Error::new(Exit::NotFound, why)
        })
    }

    pub async fn project(&self, name: &str) -> Result<ProjectView, Error> {
        let account = self.find_account(name).await?;
        let counted = self.meta.counted(QuotaOf::Project(account.number.clone())).await?;
        Ok(ProjectView::new(&account, counted))
    }

    pub async fn set_project_quota(self, name: String, asked: SetQuota) -> Result<ProjectView, Error> {
        let account = self.find_account(&name).await?;
        self.meta.set_quota(QuotaOf::Project(account.number), asked.bytes, asked.objects).await?;
        self.project(&name).await
    }

    /// What the projects hold, as metrics: of those that hold most, so that there never are too many series.
    pub async fn project_metrics(&self) -> Vec<Metric> {
        let mut projects = match self.meta.project_counts().await {
            Ok(projects) => projects,
            Err(error) => {
                tracing::warn!(%error, "what projects hold is not among the metrics");
                return Vec::new();
            }
        };
        projects.sort_by_key(|project| std::cmp::Reverse(project.counted.usage.total_bytes()));
        projects.truncate(MAX_PROJECT_SERIES);
        metrics(&projects)
    }
}

fn metrics(projects: &[ProjectCount]) -> Vec<Metric> {
    let family = |name: &str, help: &str, value: fn(&ProjectCount) -> Option<u64>| Metric {
        name: name.to_owned(),
        kind: "gauge".to_owned(),
        help: help.to_owned(),
        samples: projects
            .iter()
            .filter_map(|project| Some((format!("project=\"{}\"", project.account), value(project)?)))
            .collect(),
    };
    vec![
        family("ashlar_project_bytes", "What all versions in a project's buckets hold.", |project| {
            Some(project.counted.usage.bytes)
        }),
        family("ashlar_project_upload_bytes", "What parts of its unfinished uploads hold.", |project| {
            Some(project.counted.usage.upload_bytes)
        }),
        family("ashlar_project_objects", "Versions in its buckets.", |project| {
            Some(project.counted.usage.objects)
        }),
        family("ashlar_project_quota_bytes", "The most that both may hold together.", |project| {
            project.counted.quota.bytes
        }),
        family("ashlar_project_quota_objects", "The most versions there may be.", |project| {
            project.counted.quota.objects
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta::object::BucketUsage;
    use meta::quota::{Counted, Quota};

    #[test]
    fn a_quota_that_there_is_not_is_no_series() {
        let usage = BucketUsage { objects: 2, bytes: 30, uploads: 1, upload_bytes: 4 };
        let quota = Quota { bytes: Some(50), objects: None };
        let project = ProjectCount { account: "012345678901".into(), counted: Counted { usage, quota } };
        let samples = |metrics: &[Metric]| -> Vec<(String, Vec<u64>)> {
            let values = |metric: &Metric| metric.samples.iter().map(|(_, value)| *value).collect();
            metrics.iter().map(|metric| (metric.name.clone(), values(metric))).collect()
        };
        let expected = [
            ("ashlar_project_bytes", vec![30]),
            ("ashlar_project_upload_bytes", vec![4]),
            ("ashlar_project_objects", vec![2]),
            ("ashlar_project_quota_bytes", vec![50]),
            ("ashlar_project_quota_objects", vec![]),
        ];
        let expected: Vec<_> = expected.map(|(name, values)| (name.to_owned(), values)).into();
        let metrics = metrics(&[project]);
        assert_eq!(samples(&metrics), expected);
        assert_eq!(metrics[0].samples[0].0, "project=\"012345678901\"");
    }
}
