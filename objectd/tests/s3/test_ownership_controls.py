"""GetBucketOwnershipControls."""

from conftest import fails, new_bucket_name


def test_a_new_bucket_is_bucket_owner_enforced(s3, fresh):
    rules = s3.get_bucket_ownership_controls(Bucket=fresh)["OwnershipControls"]["Rules"]
    assert rules == [{"ObjectOwnership": "BucketOwnerEnforced"}]


def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3):
    with fails("NoSuchBucket", 404):
        s3.get_bucket_ownership_controls(Bucket=new_bucket_name())
