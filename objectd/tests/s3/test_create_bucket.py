"""CreateBucket, and the rules for bucket names."""

import uuid

import pytest

from conftest import fails, make_bucket, new_bucket_name


def configuration(region):
    return {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}


def test_creates_a_bucket_that_can_be_used_at_once(s3, buckets):
    name = buckets()
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    assert s3.get_object(Bucket=name, Key="k")["Body"].read() == b"x"


def test_location_names_the_bucket(s3, buckets, region):
    name = buckets(create=False)
    location = s3.create_bucket(Bucket=name, **configuration(region))["Location"]
    assert name in location


def test_a_bucket_of_ones_own_that_exists_is_bucket_already_owned_by_you(s3, buckets, region):
    name = buckets()
    if region == "us-east-1":
        pytest.skip("us-east-1 answers 200, for legacy compatibility")
    with fails("BucketAlreadyOwnedByYou", 409):
        s3.create_bucket(Bucket=name, **configuration(region))


def test_creating_again_keeps_what_is_in_the_bucket(s3, buckets, region):
    name = buckets()
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    try:
        s3.create_bucket(Bucket=name, **configuration(region))
    except s3.exceptions.BucketAlreadyOwnedByYou:
        pass
    assert s3.get_object(Bucket=name, Key="k")["Body"].read() == b"x"


def test_a_location_constraint_of_another_region_is_illegal(s3, buckets, region):
    name = buckets(create=False)
    other = "eu-west-1" if region != "eu-west-1" else "eu-west-2"
    with fails("IllegalLocationConstraintException", 400):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": other})


def test_a_body_that_is_no_xml_is_malformed(wire, buckets):
    name = buckets(create=False)
    wire.call("PUT", f"/{name}", body=b"<Create").expect(400, "MalformedXML")


def test_a_body_of_another_document_is_malformed(wire, buckets):
    name = buckets(create=False)
    wire.call("PUT", f"/{name}", body=b"<Other/>").expect(400, "MalformedXML")


GOOD = {
    "three_characters": lambda: uuid.uuid4().hex[:1] + "0" + uuid.uuid4().hex[:1],
    "sixty_three_characters": lambda: ("suite-" + uuid.uuid4().hex * 2)[:63],
    "digits_first_and_last": lambda: "0" + uuid.uuid4().hex[:16] + "9",
    "hyphens_inside": lambda: "suite--a-" + uuid.uuid4().hex[:12],
    "dots_inside": lambda: "suite.a." + uuid.uuid4().hex[:12],
    "three_numbers_with_dots": lambda: f"10.20.{uuid.uuid4().int % 10**9}",
}


@pytest.mark.parametrize("case", GOOD)
def test_a_valid_name_may_have(s3, buckets, case):
    name = GOOD[case]()
    buckets(name, create=False)
    make_bucket(s3, name)
    s3.head_bucket(Bucket=name)


BAD = {
    "not_be_two_characters": "ab",
    "not_be_sixty_four_characters": "a" * 64,
    "have_no_upper_case": "Suite-upper",
    "have_no_underscore": "suite_under",
    "not_begin_with_a_hyphen": "-suite",
    "not_end_with_a_hyphen": "suite-",
    "not_begin_with_a_dot": ".suite",
    "not_end_with_a_dot": "suite.",
    "have_no_two_dots_together": "suite..dots",
    "not_be_an_ip_address": "192.168.5.4",
    "not_begin_with_xn": "xn--suite",
    "not_begin_with_sthree": "sthree-suite",
    "not_begin_with_amzn_s3_demo": "amzn-s3-demo-suite",
    "not_end_with_s3alias": "suite-s3alias",
    "not_end_with_ol_s3": "suite--ol-s3",
    "not_end_with_mrap": "suite.mrap",
    "not_end_with_x_s3": "suite--x-s3",
    "not_end_with_table_s3": "suite--table-s3",
    "have_no_space": "suite%20space",
    "have_no_slash": "suite%2Fslash",
    "have_no_letter_beyond_ascii": "suite%C3%A9",
}


@pytest.mark.parametrize("case", BAD)
def test_a_name_must(wire, case):
    wire.call("PUT", f"/{BAD[case]}").expect(400, "InvalidBucketName")


def test_an_acl_is_not_supported_where_object_ownership_is_bucket_owner_enforced(s3, buckets, region):
    name = buckets(create=False)
    with fails("InvalidBucketAclWithObjectOwnership", 400):
        s3.create_bucket(Bucket=name, ACL="public-read", **configuration(region))


def test_a_private_acl_is_the_default_and_taken(s3, buckets, region):
    name = buckets(create=False)
    s3.create_bucket(Bucket=name, ACL="private", **configuration(region))
    s3.head_bucket(Bucket=name)


def test_object_ownership_bucket_owner_enforced_is_the_default_and_can_be_asked_for(s3, buckets, region):
    name = buckets(create=False)
    s3.create_bucket(Bucket=name, ObjectOwnership="BucketOwnerEnforced", **configuration(region))
    rules = s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"]
    assert rules == [{"ObjectOwnership": "BucketOwnerEnforced"}]


def test_an_unknown_object_ownership_is_an_invalid_argument(wire, buckets):
    name = buckets(create=False)
    reply = wire.call("PUT", f"/{name}", headers={"x-amz-object-ownership": "Nobody"})
    reply.expect(400, "InvalidArgument")


def test_a_new_bucket_has_all_four_public_access_blocks(s3, fresh):
    block = s3.get_public_access_block(Bucket=fresh)["PublicAccessBlockConfiguration"]
    assert len(block) == 4 and all(block.values())


def test_anonymous_requests_can_not_create_buckets(wire):
    wire.anonymous("PUT", f"/{new_bucket_name()}").expect(403, "AccessDenied")
