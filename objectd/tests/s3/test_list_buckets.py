"""ListBuckets."""

import datetime

import pytest

from conftest import fails


def names(answer):
    return [bucket["Name"] for bucket in answer["Buckets"]]


def test_returns_a_list_of_all_buckets_of_the_sender_with_their_creation_date(s3, buckets):
    before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=5)
    name = buckets()
    found = next(found for found in s3.list_buckets()["Buckets"] if found["Name"] == name)
    assert before < found["CreationDate"] < before + datetime.timedelta(minutes=10)


def test_names_the_owner(s3, buckets):
    buckets()
    assert s3.list_buckets()["Owner"]["ID"]


def test_buckets_are_in_alphabetical_order(s3, buckets):
    for _ in range(3):
        buckets()
    found = names(s3.list_buckets())
    assert found == sorted(found)


def test_a_deleted_bucket_is_not_listed(s3, buckets):
    name = buckets()
    s3.delete_bucket(Bucket=name)
    assert name not in names(s3.list_buckets())


def test_max_buckets_limits_the_page_and_a_continuation_token_goes_on(s3, buckets):
    mine = sorted(buckets() for _ in range(3))
    found, token = [], {}
    while True:
        page = s3.list_buckets(MaxBuckets=1, Prefix="suite-", **token)
        assert len(page["Buckets"]) <= 1
        found += names(page)
        if "ContinuationToken" not in page:
            break
        token = {"ContinuationToken": page["ContinuationToken"]}
    assert [name for name in found if name in mine] == mine
    assert found == sorted(set(found))


def test_prefix_limits_the_answer_to_names_that_begin_with_it_and_is_returned(s3, buckets):
    name = buckets()
    answer = s3.list_buckets(Prefix=name)
    assert names(answer) == [name]
    assert answer["Prefix"] == name
    assert names(s3.list_buckets(Prefix=name + "x")) == []


def test_bucket_region_limits_the_answer_to_that_region(s3, buckets, region):
    name = buckets()
    assert name in names(s3.list_buckets(BucketRegion=region, MaxBuckets=10000))
    assert names(s3.list_buckets(BucketRegion="nowhere-1", MaxBuckets=10000, Prefix=name)) == []


def test_a_paged_answer_tells_each_buckets_region(s3, buckets, region):
    name = buckets()
    found = s3.list_buckets(Prefix=name, MaxBuckets=1)["Buckets"][0]
    assert found["BucketRegion"] == region


@pytest.mark.parametrize("value", ["0", "-1", "x"])
def test_max_buckets_out_of_range_is_an_invalid_argument(wire, value):
    wire.call("GET", "/", {"max-buckets": value}).expect(400, "InvalidArgument")


def test_a_continuation_token_that_was_not_given_is_an_invalid_argument(s3):
    with fails("InvalidArgument", 400):
        s3.list_buckets(MaxBuckets=1, ContinuationToken="!!!")


def test_anonymous_requests_can_not_list_buckets(wire):
    reply = wire.anonymous("GET", "/")
    assert reply.status in (403, 307), reply


def test_the_service_takes_no_other_method(wire):
    for method in ("PUT", "DELETE", "POST"):
        assert wire.call(method, "/").status in (400, 403, 405, 501), method
