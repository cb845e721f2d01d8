"""CopyObject."""

import pytest

import sums
from conftest import fails, new_bucket_name

BODY = bytes(range(256)) * 40
META = {"Metadata": {"a": "b"}, "ContentType": "text/plain", "CacheControl": "no-store", "ContentLanguage": "de"}


@pytest.fixture
def source(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key + "/source", Body=BODY, **META)
    return {"Bucket": bucket, "Key": key + "/source"}


def test_copies_the_data_and_returns_etag_and_time(s3, bucket, key, source):
    answer = s3.copy_object(Bucket=bucket, Key=key, CopySource=source)
    assert answer["CopyObjectResult"]["ETag"] == sums.etag(BODY) and answer["CopyObjectResult"]["LastModified"]
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == BODY


@pytest.mark.parametrize("size", [0, 1, 3072, 3073, 100000, 5 << 20])
def test_an_object_of_any_size_is_copied(s3, bucket, key, size):
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    s3.put_object(Bucket=bucket, Key=key + "/source", Body=body)
    s3.copy_object(Bucket=bucket, Key=key, CopySource=f"{bucket}/{key}/source")
    found = s3.get_object(Bucket=bucket, Key=key)
    assert found["ETag"] == sums.etag(body) and found["Body"].read() == body


def test_copies_metadata_by_default(s3, bucket, key, source):
    s3.copy_object(Bucket=bucket, Key=key, CopySource=source, Metadata={"ignored": "x"}, ContentType="x/y")
    head = s3.head_object(Bucket=bucket, Key=key)
    assert {name: head[name] for name in META} == META


def test_replace_takes_the_requests_metadata(s3, bucket, key, source):
    s3.copy_object(
        Bucket=bucket, Key=key, CopySource=source, MetadataDirective="REPLACE", Metadata={"c": "d"}, ContentType="x/y"
    )
    head = s3.head_object(Bucket=bucket, Key=key)
    assert head["Metadata"] == {"c": "d"} and head["ContentType"] == "x/y" and "CacheControl" not in head


def test_an_unknown_metadata_directive_is_an_invalid_argument(wire, bucket, key, source):
    headers = {"x-amz-copy-source": f"{bucket}/{source['Key']}", "x-amz-metadata-directive": "MERGE"}
    wire.call("PUT", f"/{bucket}/{key}", headers=headers).expect(400, "InvalidArgument")


def test_onto_itself_without_a_change_is_an_invalid_request(s3, source):
    with fails("InvalidRequest", 400):
        s3.copy_object(**source, CopySource=source)


def test_onto_itself_with_replace_changes_the_metadata(s3, source):
    s3.copy_object(**source, CopySource=source, MetadataDirective="REPLACE", Metadata={"e": "f"})
    found = s3.get_object(**source)
    assert found["Metadata"] == {"e": "f"} and found["Body"].read() == BODY


def test_from_another_bucket(s3, buckets, source, key):
    other = buckets()
    s3.copy_object(Bucket=other, Key=key, CopySource=source)
    assert s3.get_object(Bucket=other, Key=key)["Body"].read() == BODY


def test_a_source_key_that_does_not_exist_is_no_such_key(s3, bucket, key):
    with fails("NoSuchKey", 404):
        s3.copy_object(Bucket=bucket, Key=key, CopySource=f"{bucket}/none/there")


def test_a_source_bucket_that_does_not_exist_is_no_such_bucket(s3, bucket, key):
    with fails("NoSuchBucket", 404):
        s3.copy_object(Bucket=bucket, Key=key, CopySource=f"{new_bucket_name()}/k")


def test_into_a_bucket_that_does_not_exist_is_no_such_bucket(s3, key, source):
    with fails("NoSuchBucket", 404):
        s3.copy_object(Bucket=new_bucket_name(), Key=key, CopySource=source)


@pytest.mark.parametrize("source", ["/", "bucket-alone", "/bucket-alone/", "UPPER/k", "../k"])
def test_a_copy_source_that_is_none_is_an_invalid_argument(wire, bucket, key, source):
    wire.call("PUT", f"/{bucket}/{key}", headers={"x-amz-copy-source": source}).expect(400, "InvalidArgument")


@pytest.mark.parametrize("name", ["a b", "a+b", "a%2Fb", "gr\u00f6\u00dfe/\u65e5", "a?b", "a&b=c", "..//x"])
def test_a_source_key_is_percent_decoded_once(s3, bucket, key, name):
    s3.put_object(Bucket=bucket, Key=f"{key}/{name}", Body=BODY)
    s3.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": f"{key}/{name}"})
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == BODY


def test_a_leading_slash_of_the_source_is_optional(wire, bucket, key, source):
    for prefix in ("", "/"):
        headers = {"x-amz-copy-source": f"{prefix}{bucket}/{source['Key']}"}
        wire.call("PUT", f"/{bucket}/{key}", headers=headers).expect(200)


CONDITIONS = {
    "CopySourceIfMatch": (sums.etag(BODY), '"other"'),
    "CopySourceIfNoneMatch": ('"other"', sums.etag(BODY)),
    "CopySourceIfModifiedSince": ("2001-01-01", "2094-01-01"),
    "CopySourceIfUnmodifiedSince": ("2094-01-01", "2001-01-01"),
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_that_holds_for_the_source_copies(s3, bucket, key, source, condition):
    s3.copy_object(Bucket=bucket, Key=key, CopySource=source, **{condition: CONDITIONS[condition][0]})
    s3.head_object(Bucket=bucket, Key=key)


@pytest.mark.parametrize("condition", ["CopySourceIfMatch", "CopySourceIfNoneMatch", "CopySourceIfUnmodifiedSince"])
def test_a_condition_that_fails_for_the_source_is_precondition_failed(s3, bucket, key, source, condition):
    with fails("PreconditionFailed", 412):
        s3.copy_object(Bucket=bucket, Key=key, CopySource=source, **{condition: CONDITIONS[condition][1]})
    with fails("404", 404):
        s3.head_object(Bucket=bucket, Key=key)


def test_if_match_true_and_if_unmodified_since_false_copies(s3, bucket, key, source):
    s3.copy_object(
        Bucket=bucket, Key=key, CopySource=source,
        CopySourceIfMatch=sums.etag(BODY), CopySourceIfUnmodifiedSince="2001-01-01",
    )


def test_if_none_match_false_and_if_modified_since_true_is_precondition_failed(s3, bucket, key, source):
    with fails("PreconditionFailed", 412):
        s3.copy_object(
            Bucket=bucket, Key=key, CopySource=source,
            CopySourceIfNoneMatch=sums.etag(BODY), CopySourceIfModifiedSince="2001-01-01",
        )


def test_if_none_match_star_on_the_target(s3, bucket, key, source):
    s3.copy_object(Bucket=bucket, Key=key, CopySource=source, IfNoneMatch="*")
    with fails("PreconditionFailed", 412):
        s3.copy_object(Bucket=bucket, Key=key, CopySource=source, IfNoneMatch="*")


@pytest.mark.parametrize("algorithm", sums.NAMES)
def test_a_checksum_algorithm_can_be_chosen_for_the_copy(wire, bucket, key, source, algorithm):
    headers = {"x-amz-copy-source": f"{bucket}/{source['Key']}", "x-amz-checksum-algorithm": algorithm}
    reply = wire.call("PUT", f"/{bucket}/{key}", headers=headers).expect(200)
    assert reply.texts(sums.field(algorithm)) == [sums.of(algorithm, BODY)]
    assert reply.texts("ChecksumType") == ["FULL_OBJECT"]


def test_an_unknown_checksum_algorithm_is_an_invalid_request(wire, bucket, key, source):
    headers = {"x-amz-copy-source": f"{bucket}/{source['Key']}", "x-amz-checksum-algorithm": "MD4"}
    wire.call("PUT", f"/{bucket}/{key}", headers=headers).expect(400, "InvalidRequest")


def test_a_copy_keeps_the_sources_checksum_algorithm(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key + "/source", Body=BODY, ChecksumAlgorithm="SHA256")
    answer = s3.copy_object(Bucket=bucket, Key=key, CopySource=f"{bucket}/{key}/source")
    assert answer["CopyObjectResult"]["ChecksumSHA256"] == sums.of("SHA256", BODY)


def test_a_copy_is_independent_of_its_source(s3, bucket, key, source):
    s3.copy_object(Bucket=bucket, Key=key, CopySource=source)
    s3.delete_object(**source)
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == BODY


def test_an_expected_source_owner_that_does_not_own_it_is_access_denied(s3, bucket, key, source):
    with fails("AccessDenied", 403):
        s3.copy_object(Bucket=bucket, Key=key, CopySource=source, ExpectedSourceBucketOwner="111122223333")


def test_anonymous_requests_can_not_copy(wire, bucket, key, source):
    headers = {"x-amz-copy-source": f"{bucket}/{source['Key']}"}
    wire.anonymous("PUT", f"/{bucket}/{key}", headers=headers).expect(403, "AccessDenied")


def test_a_multipart_object_becomes_one_piece(s3, bucket, key):
    made = s3.create_multipart_upload(Bucket=bucket, Key=key + "/source")["UploadId"]
    named = {"Bucket": bucket, "Key": key + "/source", "UploadId": made}
    etag = s3.upload_part(**named, PartNumber=1, Body=BODY)["ETag"]
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    s3.copy_object(Bucket=bucket, Key=key, CopySource=f"{bucket}/{key}/source")
    assert s3.head_object(Bucket=bucket, Key=key)["ETag"] == sums.etag(BODY)
