"""GetObject."""

import datetime
import email.utils
import json

import pytest

import sums
from conftest import fails, new_bucket_name

BODY = bytes(range(256)) * 40
ETAG = sums.etag(BODY)


@pytest.fixture(scope="module")
def stored(s3, bucket):
    s3.put_object(Bucket=bucket, Key="get-object", Body=BODY, Metadata={"a": "b"}, ContentType="text/plain")
    return {"Bucket": bucket, "Key": "get-object"}


def stamp(seconds):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return email.utils.format_datetime(moment.replace(microsecond=0), usegmt=True)


def test_returns_the_object_with_its_headers(s3, stored):
    found = s3.get_object(**stored)
    assert found["Body"].read() == BODY
    assert found["ContentLength"] == len(BODY) and found["ETag"] == ETAG
    assert found["ContentType"] == "text/plain" and found["Metadata"] == {"a": "b"}
    assert found["AcceptRanges"] == "bytes"
    assert abs(found["LastModified"] - datetime.datetime.now(datetime.timezone.utc)) < datetime.timedelta(hours=1)


def test_every_answer_has_a_request_id_and_a_date(wire, stored):
    reply = wire.call("GET", f"/{stored['Bucket']}/{stored['Key']}")
    assert reply.header("x-amz-request-id") and reply.header("x-amz-id-2") and reply.header("date")


def test_a_key_that_does_not_exist_is_no_such_key_with_the_key(s3, bucket):
    with fails("NoSuchKey", 404) as error:
        s3.get_object(Bucket=bucket, Key="none/there")
    assert error["Key"] == "none/there"


def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3):
    name = new_bucket_name()
    with fails("NoSuchBucket", 404) as error:
        s3.get_object(Bucket=name, Key="k")
    assert error["BucketName"] == name


RANGES = {
    "bytes=0-0": (0, 1),
    "bytes=0-9": (0, 10),
    "bytes=10-19": (10, 20),
    "bytes=10239-10239": (10239, 10240),
    "bytes=5000-": (5000, 10240),
    "bytes=-1": (10239, 10240),
    "bytes=-500": (9740, 10240),
    "bytes=-99999": (0, 10240),
    "bytes=10000-99999": (10000, 10240),
    "bytes=0-": (0, 10240),
}


@pytest.mark.parametrize("asked", RANGES)
def test_a_range_is_206_with_the_bytes_it_names(s3, stored, asked):
    first, end = RANGES[asked]
    found = s3.get_object(**stored, Range=asked)
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert found["ContentRange"] == f"bytes {first}-{end - 1}/{len(BODY)}"
    assert found["ContentLength"] == end - first and found["Body"].read() == BODY[first:end]
    assert found["ETag"] == ETAG


@pytest.mark.parametrize("asked", ["bytes=10240-", "bytes=10240-10300", "bytes=-0", "bytes=99999999999999999999-"])
def test_a_range_beyond_the_object_is_invalid_range(s3, stored, asked):
    with fails("InvalidRange", 416) as error:
        s3.get_object(**stored, Range=asked)
    assert error["ActualObjectSize"] == str(len(BODY)) and error["RangeRequested"] == asked


@pytest.mark.parametrize("asked", ["bytes=9-2", "bytes=a-b", "items=0-1", "bytes=", "0-1"])
def test_a_range_that_is_none_is_ignored(s3, stored, asked):
    found = s3.get_object(**stored, Range=asked)
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 200 and found["Body"].read() == BODY


def test_several_ranges_are_not_supported_and_give_the_whole_object(s3, stored):
    found = s3.get_object(**stored, Range="bytes=0-1,5-6")
    assert found["Body"].read() == BODY


def test_any_range_of_an_empty_object_is_invalid_range(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=b"")
    with fails("InvalidRange", 416):
        s3.get_object(Bucket=bucket, Key=key, Range="bytes=0-0")


@pytest.mark.parametrize("etag", [ETAG, ETAG.strip('"'), "*", f'"x", {ETAG}'])
def test_if_match_of_the_etag_returns_the_object(s3, stored, etag):
    assert s3.get_object(**stored, IfMatch=etag)["Body"].read() == BODY


def test_if_match_of_another_etag_is_precondition_failed(s3, stored):
    with fails("PreconditionFailed", 412) as error:
        s3.get_object(**stored, IfMatch='"other"')
    assert error["Condition"] == "If-Match"


@pytest.mark.parametrize("etag", [ETAG, "*"])
def test_if_none_match_of_the_etag_is_not_modified(s3, stored, etag):
    with fails("304", 304):
        s3.get_object(**stored, IfNoneMatch=etag)


def test_a_304_has_the_etag_and_no_body(wire, stored):
    reply = wire.call("GET", f"/{stored['Bucket']}/{stored['Key']}", headers={"if-none-match": ETAG})
    reply.expect(304)
    assert reply.header("etag") == ETAG and reply.header("last-modified") and reply.body == b""


def test_if_none_match_of_another_etag_returns_the_object(s3, stored):
    assert s3.get_object(**stored, IfNoneMatch='"other"')["Body"].read() == BODY


def conditional(wire, stored, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return wire.call("GET", f"/{stored['Bucket']}/{stored['Key']}", headers=named)


def test_if_modified_since_an_earlier_time_returns_the_object(wire, stored):
    conditional(wire, stored, if_modified_since=stamp(-86400)).expect(200)


def test_if_modified_since_a_later_time_is_not_modified(wire, stored):
    modified = conditional(wire, stored).header("last-modified")
    conditional(wire, stored, if_modified_since=modified).expect(304)


def test_if_unmodified_since_a_later_time_returns_the_object(wire, stored):
    modified = conditional(wire, stored).header("last-modified")
    conditional(wire, stored, if_unmodified_since=modified).expect(200)


def test_if_unmodified_since_an_earlier_time_is_precondition_failed(wire, stored):
    conditional(wire, stored, if_unmodified_since=stamp(-86400)).expect(412, "PreconditionFailed")


def test_if_match_true_and_if_unmodified_since_false_returns_the_object(wire, stored):
    conditional(wire, stored, if_match=ETAG, if_unmodified_since=stamp(-86400)).expect(200)


def test_if_none_match_false_and_if_modified_since_true_is_not_modified(wire, stored):
    conditional(wire, stored, if_none_match=ETAG, if_modified_since=stamp(-86400)).expect(304)


def test_a_condition_with_a_date_that_is_none_is_ignored(wire, stored):
    conditional(wire, stored, if_modified_since="yesterday").expect(200)


def test_a_range_with_if_match_of_another_etag_is_precondition_failed(s3, stored):
    with fails("PreconditionFailed", 412):
        s3.get_object(**stored, Range="bytes=0-1", IfMatch='"other"')


def test_if_range_of_the_etag_returns_the_range(wire, stored):
    conditional(wire, stored, range="bytes=0-1", if_range=ETAG).expect(206)


def test_if_range_of_another_etag_returns_the_object(wire, stored):
    assert conditional(wire, stored, range="bytes=0-1", if_range='"other"').expect(200).body == BODY


OVERRIDES = {
    "ResponseCacheControl": ("CacheControl", "no-cache"),
    "ResponseContentDisposition": ("ContentDisposition", 'attachment; filename="x.txt"'),
    "ResponseContentEncoding": ("ContentEncoding", "identity"),
    "ResponseContentLanguage": ("ContentLanguage", "mi, en"),
    "ResponseContentType": ("ContentType", "image/png"),
}


@pytest.mark.parametrize("parameter", OVERRIDES)
def test_a_response_parameter_overrides_the_header_of_this_answer(s3, stored, parameter):
    name, value = OVERRIDES[parameter]
    assert s3.get_object(**stored, **{parameter: value})[name] == value
    assert s3.get_object(**stored).get(name) != value


def test_response_expires_overrides_the_header_of_this_answer(wire, stored):
    when = "Thu, 01 Dec 2094 16:00:00 GMT"
    reply = wire.call("GET", f"/{stored['Bucket']}/{stored['Key']}", {"response-expires": when})
    assert reply.expect(200).header("expires") == when


def test_an_anonymous_request_can_not_override_headers(wire, s3, fresh):
    s3.put_object(Bucket=fresh, Key="k", Body=b"")
    s3.delete_public_access_block(Bucket=fresh)
    s3.put_bucket_policy(Bucket=fresh, Policy=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{fresh}/*"}]}))
    wire.anonymous("GET", f"/{fresh}/k").expect(200)
    reply = wire.anonymous("GET", f"/{fresh}/k", {"response-content-type": "text/html"})
    reply.expect(400, "InvalidRequest")


def test_part_1_of_an_object_in_one_piece_is_206_and_all_of_it(s3, stored):
    found = s3.get_object(**stored, PartNumber=1)
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 206 and found["Body"].read() == BODY


def test_a_part_that_does_not_exist_is_invalid_part_number(s3, stored):
    with fails("InvalidPartNumber", 416):
        s3.get_object(**stored, PartNumber=2)


@pytest.mark.parametrize("number", ["0", "10001", "-1", "x"])
def test_a_part_number_out_of_range_is_an_invalid_argument(wire, stored, number):
    reply = wire.call("GET", f"/{stored['Bucket']}/{stored['Key']}", {"partNumber": number})
    reply.expect(400, "InvalidArgument")


def test_a_range_and_a_part_number_together_are_an_invalid_request(s3, stored):
    with fails("InvalidRequest", 400):
        s3.get_object(**stored, PartNumber=1, Range="bytes=0-1")


def test_checksums_are_returned_only_if_checksum_mode_is_enabled(wire, bucket, key):
    wire.call("PUT", f"/{bucket}/{key}", headers={"x-amz-checksum-sha256": sums.of("SHA256", BODY)}, body=BODY)
    assert wire.call("GET", f"/{bucket}/{key}").header("x-amz-checksum-sha256") is None
    enabled = {"x-amz-checksum-mode": "ENABLED"}
    reply = wire.call("GET", f"/{bucket}/{key}", headers=enabled)
    assert reply.header("x-amz-checksum-sha256") == sums.of("SHA256", BODY)


def test_a_ranged_answer_has_no_checksum_of_the_whole_object(wire, bucket, key):
    wire.call("PUT", f"/{bucket}/{key}", headers={"x-amz-checksum-sha256": sums.of("SHA256", BODY)}, body=BODY)
    headers = {"x-amz-checksum-mode": "ENABLED", "range": "bytes=0-9"}
    assert wire.call("GET", f"/{bucket}/{key}", headers=headers).header("x-amz-checksum-sha256") is None


def test_an_anonymous_request_is_access_denied(wire, stored):
    wire.anonymous("GET", f"/{stored['Bucket']}/{stored['Key']}").expect(403, "AccessDenied")


def test_an_anonymous_request_does_not_learn_whether_a_key_exists(wire, bucket):
    wire.anonymous("GET", f"/{bucket}/none/there").expect(403, "AccessDenied")


def test_an_expected_bucket_owner_that_does_not_own_it_is_access_denied(s3, stored):
    with fails("AccessDenied", 403):
        s3.get_object(**stored, ExpectedBucketOwner="111122223333")


def test_a_copy_just_put_is_read_at_once(s3, bucket, key):
    for number in range(20):
        s3.put_object(Bucket=bucket, Key=key, Body=str(number).encode())
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == str(number).encode()
