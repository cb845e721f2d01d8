"""PutObject."""

import uuid

import pytest

import sigv4
import sums
from conftest import fails, new_bucket_name

BODY = b"what is stored"


def test_stores_the_object_and_returns_its_md5_as_etag(s3, bucket, key):
    assert s3.put_object(Bucket=bucket, Key=key, Body=BODY)["ETag"] == sums.etag(BODY)
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == BODY


@pytest.mark.parametrize("size", [0, 1, 3071, 3072, 3073, 4096, 65536, 1048575, 1048577, 9000000])
def test_an_object_of_any_size_comes_back_as_it_was(s3, bucket, key, size):
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    assert s3.put_object(Bucket=bucket, Key=key, Body=body)["ETag"] == sums.etag(body)
    found = s3.get_object(Bucket=bucket, Key=key)
    assert found["ContentLength"] == size and found["Body"].read() == body


def test_overwrites_the_object_as_a_whole(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=b"first and long", Metadata={"a": "1"}, ContentType="text/a")
    s3.put_object(Bucket=bucket, Key=key, Body=b"second")
    found = s3.get_object(Bucket=bucket, Key=key)
    assert found["Body"].read() == b"second" and found["Metadata"] == {}
    assert found["ContentType"] == "binary/octet-stream"


def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3):
    with fails("NoSuchBucket", 404):
        s3.put_object(Bucket=new_bucket_name(), Key="k", Body=b"")


SYSTEM = {
    "CacheControl": "max-age=60, private",
    "ContentDisposition": 'attachment; filename="a b.txt"',
    "ContentEncoding": "gzip",
    "ContentLanguage": "de-DE, en",
    "ContentType": "text/plain; charset=utf-8",
}


@pytest.mark.parametrize("name", SYSTEM)
def test_system_metadata_is_stored_and_returned(s3, bucket, key, name):
    s3.put_object(Bucket=bucket, Key=key, Body=BODY, **{name: SYSTEM[name]})
    assert s3.head_object(Bucket=bucket, Key=key)[name] == SYSTEM[name]
    assert s3.get_object(Bucket=bucket, Key=key)[name] == SYSTEM[name]


def test_expires_is_stored_and_returned(wire, bucket, key):
    when = "Thu, 01 Dec 2094 16:00:00 GMT"
    wire.call("PUT", f"/{bucket}/{key}", headers={"Expires": when}, body=BODY).expect(200)
    assert wire.call("HEAD", f"/{bucket}/{key}").header("expires") == when


def test_user_metadata_is_stored_under_lower_case_names(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=BODY, Metadata={"Colour": "Blue", "two-words": "a b"})
    assert s3.head_object(Bucket=bucket, Key=key)["Metadata"] == {"colour": "Blue", "two-words": "a b"}


def test_user_metadata_may_have_an_empty_value(wire, bucket, key):
    wire.call("PUT", f"/{bucket}/{key}", headers={"x-amz-meta-empty": ""}, body=BODY).expect(200)
    assert wire.call("HEAD", f"/{bucket}/{key}").header("x-amz-meta-empty") == ""


def test_user_metadata_of_two_kibibytes_is_the_limit(wire, bucket, key):
    most = {"x-amz-meta-a": "x" * 2047}
    wire.call("PUT", f"/{bucket}/{key}", headers=most, body=BODY).expect(200)
    assert wire.call("HEAD", f"/{bucket}/{key}").header("x-amz-meta-a") == "x" * 2047


def test_user_metadata_of_more_is_metadata_too_large(wire, bucket, key):
    reply = wire.call("PUT", f"/{bucket}/{key}", headers={"x-amz-meta-a": "x" * 2048}, body=BODY)
    reply.expect(400, "MetadataTooLarge")
    assert reply.xml.findtext("MaxSizeAllowed") == "2048"
    wire.call("HEAD", f"/{bucket}/{key}").expect(404)


KEYS = {
    "spaces": " a b ",
    "slashes_at_both_ends": "/a//b/",
    "dots": "../a/./b/..",
    "plus_and_percent": "a+b%2Fc%",
    "letters_beyond_ascii": "gr\u00f6\u00dfe/\u65e5\u672c",
    "beyond_the_basic_plane": "\U0001f600",
    "reserved_characters": "!-_.*'()&$@=;:,?",
    "characters_to_avoid": "\\{}^`[]\"<>~#|",
    "both_forms_of_an_accent": "caf\u00e9/cafe\u0301",
    "one_byte": "k",
    "a_folder": "folder/",
}


@pytest.mark.parametrize("case", KEYS)
def test_a_key_may_have(s3, fresh, case):
    s3.put_object(Bucket=fresh, Key=KEYS[case], Body=BODY)
    assert s3.get_object(Bucket=fresh, Key=KEYS[case])["Body"].read() == BODY
    assert [found["Key"] for found in s3.list_objects_v2(Bucket=fresh)["Contents"]] == [KEYS[case]]


def test_a_key_of_1024_bytes_is_the_limit(s3, bucket):
    key = uuid.uuid4().hex + "\u00e9" * 496
    assert len(key.encode()) == 1024
    s3.put_object(Bucket=bucket, Key=key, Body=BODY)
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == BODY


def test_a_longer_key_is_key_too_long(s3, bucket):
    with fails("KeyTooLongError", 400) as error:
        s3.put_object(Bucket=bucket, Key="k" * 1025, Body=BODY)
    assert error["MaxSizeAllowed"] == "1024"


def test_keys_are_case_sensitive(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key + "a", Body=b"lower")
    s3.put_object(Bucket=bucket, Key=key + "A", Body=b"upper")
    assert s3.get_object(Bucket=bucket, Key=key + "a")["Body"].read() == b"lower"


def test_a_key_that_is_no_utf8_is_refused(wire, bucket):
    wire.call("PUT", f"/{bucket}/%FF%FE", body=BODY).expect(400)


def test_content_md5_that_is_right_is_taken(wire, bucket, key):
    headers = {"Content-MD5": sums.md5(BODY)}
    wire.call("PUT", f"/{bucket}/{key}", headers=headers, body=BODY).expect(200)


def test_content_md5_that_is_wrong_is_bad_digest_and_stores_nothing(wire, bucket, key):
    headers = {"Content-MD5": sums.md5(b"other")}
    wire.call("PUT", f"/{bucket}/{key}", headers=headers, body=BODY).expect(400, "BadDigest")
    wire.call("HEAD", f"/{bucket}/{key}").expect(404)


@pytest.mark.parametrize("value", ["", "AAAA", "not base64!", "A" * 24])
def test_content_md5_that_is_none_is_invalid_digest(wire, bucket, key, value):
    headers = {"Content-MD5": value}
    wire.call("PUT", f"/{bucket}/{key}", headers=headers, body=BODY).expect(400, "InvalidDigest")


@pytest.mark.parametrize("algorithm", sums.NAMES)
def test_a_checksum_that_is_right_is_stored_and_returned(wire, bucket, key, algorithm):
    name, value = sums.header(algorithm), sums.of(algorithm, BODY)
    reply = wire.call("PUT", f"/{bucket}/{key}", headers={name: value}, body=BODY).expect(200)
    assert reply.header(name) == value and reply.header("x-amz-checksum-type") == "FULL_OBJECT"
    reply = wire.call("HEAD", f"/{bucket}/{key}", headers={"x-amz-checksum-mode": "ENABLED"})
    assert reply.header(name) == value and reply.header("x-amz-checksum-type") == "FULL_OBJECT"


@pytest.mark.parametrize("algorithm", sums.NAMES)
def test_a_checksum_that_is_wrong_is_bad_digest_and_stores_nothing(wire, bucket, key, algorithm):
    headers = {sums.header(algorithm): sums.of(algorithm, b"other")}
    wire.call("PUT", f"/{bucket}/{key}", headers=headers, body=BODY).expect(400, "BadDigest")
    wire.call("HEAD", f"/{bucket}/{key}").expect(404)


@pytest.mark.parametrize("algorithm", sums.NAMES)
def test_a_checksum_of_the_wrong_length_is_invalid(wire, bucket, key, algorithm):
    headers = {sums.header(algorithm): "AAA="}
    wire.call("PUT", f"/{bucket}/{key}", headers=headers, body=BODY).expect(400, "InvalidRequest")


def test_two_checksums_are_an_invalid_request(wire, bucket, key):
    headers = {sums.header(name): sums.of(name, BODY) for name in ("CRC32", "SHA1")}
    wire.call("PUT", f"/{bucket}/{key}", headers=headers, body=BODY).expect(400, "InvalidRequest")


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_boto3_computes_the_algorithm_that_is_asked_for(s3, bucket, key, algorithm):
    answer = s3.put_object(Bucket=bucket, Key=key, Body=BODY, ChecksumAlgorithm=algorithm)
    assert answer[sums.field(algorithm)] == sums.of(algorithm, BODY)


def test_an_object_without_a_checksum_gets_crc64nvme(wire, bucket, key):
    reply = wire.call("PUT", f"/{bucket}/{key}", body=BODY).expect(200)
    assert reply.header("x-amz-checksum-crc64nvme") == sums.of("CRC64NVME", BODY)


def test_if_none_match_star_stores_where_there_is_no_object(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=BODY, IfNoneMatch="*")
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == BODY


def test_if_none_match_star_over_an_object_is_precondition_failed(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=BODY)
    with fails("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key=key, Body=b"other", IfNoneMatch="*")
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == BODY


def test_if_none_match_takes_nothing_but_a_star(s3, bucket, key):
    with fails("NotImplemented", 501):
        s3.put_object(Bucket=bucket, Key=key, Body=BODY, IfNoneMatch=sums.etag(BODY))


def test_if_match_replaces_the_object_with_that_etag(s3, bucket, key):
    etag = s3.put_object(Bucket=bucket, Key=key, Body=BODY)["ETag"]
    s3.put_object(Bucket=bucket, Key=key, Body=b"next", IfMatch=etag)
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"next"


def test_if_match_of_another_etag_is_precondition_failed(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=BODY)
    with fails("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key=key, Body=b"other", IfMatch=sums.etag(b"else"))
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == BODY


def test_if_match_where_there_is_no_object_is_no_such_key(s3, bucket, key):
    with fails("NoSuchKey", 404):
        s3.put_object(Bucket=bucket, Key=key, Body=BODY, IfMatch=sums.etag(BODY))


def test_without_a_length_is_missing_content_length(wire, bucket, key):
    def alter(headers):
        del headers["content-length"]
        headers["transfer-encoding"] = "chunked"

    reply = wire.call("PUT", f"/{bucket}/{key}", payload=sigv4.UNSIGNED, body=b"0\r\n\r\n", alter=alter)
    reply.expect(411, "MissingContentLength")


def test_a_length_above_five_gibibytes_is_entity_too_large(wire, bucket, key):
    headers = {"content-length": str((5 << 30) + 1), "expect": "100-continue"}
    wire.call("PUT", f"/{bucket}/{key}", headers=headers, payload=sigv4.UNSIGNED).expect(400, "EntityTooLarge")


@pytest.mark.parametrize("value", ["-1", "x", "1.5"])
def test_a_length_that_is_no_number_is_refused(wire, bucket, key, value):
    reply = wire.call("PUT", f"/{bucket}/{key}", headers={"content-length": value}, payload=sigv4.UNSIGNED)
    assert reply.status == 400, reply


def test_the_standard_storage_class_is_taken(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=BODY, StorageClass="STANDARD")
    s3.head_object(Bucket=bucket, Key=key)


def test_an_unknown_storage_class_is_invalid(wire, bucket, key):
    headers = {"x-amz-storage-class": "FOREVER"}
    wire.call("PUT", f"/{bucket}/{key}", headers=headers, body=BODY).expect(400, "InvalidStorageClass")


@pytest.mark.parametrize("acl", ["public-read", "public-read-write", "authenticated-read", "aws-exec-read"])
def test_an_acl_is_not_supported_where_they_are_disabled(s3, bucket, key, acl):
    with fails("AccessControlListNotSupported", 400):
        s3.put_object(Bucket=bucket, Key=key, Body=BODY, ACL=acl)


def test_the_acl_bucket_owner_full_control_is_taken_where_acls_are_disabled(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=BODY, ACL="bucket-owner-full-control")


@pytest.mark.parametrize("grant", ["GrantRead", "GrantReadACP", "GrantWriteACP", "GrantFullControl"])
def test_a_grant_is_not_supported_where_acls_are_disabled(s3, bucket, key, grant):
    with fails("AccessControlListNotSupported", 400):
        s3.put_object(Bucket=bucket, Key=key, Body=BODY, **{grant: "uri=http://acs.amazonaws.com/groups/global/AllUsers"})


def test_an_expected_bucket_owner_that_does_not_own_it_is_access_denied(s3, bucket, key):
    with fails("AccessDenied", 403):
        s3.put_object(Bucket=bucket, Key=key, Body=BODY, ExpectedBucketOwner="111122223333")


def test_an_expect_100_continue_is_answered_before_the_body(wire, bucket, key):
    when = sigv4.When()
    headers = {"host": wire.host, "x-amz-date": when.basic, "x-amz-content-sha256": sigv4.sha256(BODY)}
    signature, signed = sigv4.seed(wire.keys, when, "PUT", f"/{bucket}/{key}", [], headers, sigv4.sha256(BODY))
    headers["authorization"] = sigv4.authorization(wire.keys, when, signed, signature)
    headers |= {"content-length": str(len(BODY)), "expect": "100-continue", "connection": "close"}
    head = "\r\n".join([f"PUT /{bucket}/{key} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items()), "", ""])
    with wire.connect() as connection:
        connection.sendall(head.encode())
        stream = connection.makefile("rb")
        assert stream.readline().startswith(b"HTTP/1.1 100 ")
        stream.readline()
        connection.sendall(BODY)
        assert stream.readline().startswith(b"HTTP/1.1 200 ")


def test_a_body_that_differs_from_its_sha256_stores_nothing(wire, bucket, key):
    reply = wire.call("PUT", f"/{bucket}/{key}", body=BODY, payload=sigv4.sha256(b"other"))
    reply.expect(400, "XAmzContentSHA256Mismatch")
    wire.call("HEAD", f"/{bucket}/{key}").expect(404)


def test_an_unsigned_payload_is_taken(wire, bucket, key):
    wire.call("PUT", f"/{bucket}/{key}", body=BODY, payload=sigv4.UNSIGNED).expect(200)
    assert wire.call("GET", f"/{bucket}/{key}").body == BODY


def test_a_repeated_etag_condition_and_star_together_are_refused(wire, bucket, key):
    headers = {"if-match": sums.etag(BODY), "if-none-match": "*"}
    assert wire.call("PUT", f"/{bucket}/{key}", headers=headers, body=BODY).status in (400, 501)
