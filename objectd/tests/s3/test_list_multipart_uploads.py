"""ListMultipartUploads."""

import pytest

from conftest import fails, make_bucket, new_bucket_name, remove_bucket

KEYS = ["a", "a/b", "a/c", "b", "b", "gr\u00f6\u00dfe"]


@pytest.fixture(scope="module")
def uploads(s3):
    """A bucket, and its uploads as (key, id) in the order of the list."""
    name = new_bucket_name()
    make_bucket(s3, name)
    made = [(key, s3.create_multipart_upload(Bucket=name, Key=key)["UploadId"]) for key in KEYS]
    yield name, made
    remove_bucket(s3, name)


def found(answer):
    return [(upload["Key"], upload["UploadId"]) for upload in answer.get("Uploads", [])]


def test_lists_uploads_in_the_order_of_their_keys(s3, uploads):
    bucket, made = uploads
    answer = s3.list_multipart_uploads(Bucket=bucket)
    assert sorted(found(answer)) == sorted(made)
    assert [key for key, _ in found(answer)] == KEYS
    assert answer["Bucket"] == bucket and answer["IsTruncated"] is False and answer["MaxUploads"] == 1000


def test_each_upload_tells_time_owner_initiator_and_storage_class(s3, uploads):
    for upload in s3.list_multipart_uploads(Bucket=uploads[0])["Uploads"]:
        assert upload["Initiated"] and upload["Owner"]["ID"] and upload["Initiator"]["ID"]
        assert upload["StorageClass"] == "STANDARD"


def test_prefix_limits_the_list(s3, uploads):
    answer = s3.list_multipart_uploads(Bucket=uploads[0], Prefix="a/")
    assert [key for key, _ in found(answer)] == ["a/b", "a/c"] and answer["Prefix"] == "a/"


def test_delimiter_folds_keys_into_common_prefixes(s3, uploads):
    answer = s3.list_multipart_uploads(Bucket=uploads[0], Delimiter="/")
    assert [key for key, _ in found(answer)] == ["a", "b", "b", "gr\u00f6\u00dfe"]
    assert answer["CommonPrefixes"] == [{"Prefix": "a/"}] and answer["Delimiter"] == "/"


@pytest.mark.parametrize("size", [1, 2, 5])
def test_pages_of_any_size_give_the_same_as_one(s3, uploads, size):
    pages = s3.get_paginator("list_multipart_uploads").paginate(
        Bucket=uploads[0], PaginationConfig={"PageSize": size}
    )
    seen = [upload for page in pages for upload in found(page)]
    assert sorted(seen) == sorted(uploads[1]) and len(seen) == len(KEYS)


def test_a_key_marker_alone_begins_after_that_key(s3, uploads):
    answer = s3.list_multipart_uploads(Bucket=uploads[0], KeyMarker="a/c")
    assert [key for key, _ in found(answer)] == ["b", "b", "gr\u00f6\u00dfe"] and answer["KeyMarker"] == "a/c"


def test_an_upload_id_marker_without_a_key_marker_is_ignored(s3, uploads):
    answer = s3.list_multipart_uploads(Bucket=uploads[0], UploadIdMarker=uploads[1][2][1])
    assert len(found(answer)) == len(KEYS)


def test_markers_go_on_within_a_key(s3, uploads):
    first = s3.list_multipart_uploads(Bucket=uploads[0], KeyMarker="a/c", MaxUploads=1)
    assert first["IsTruncated"] and first["NextKeyMarker"] == "b"
    second = s3.list_multipart_uploads(
        Bucket=uploads[0], KeyMarker=first["NextKeyMarker"], UploadIdMarker=first["NextUploadIdMarker"], MaxUploads=1
    )
    assert found(second)[0][0] == "b" and found(second) != found(first)


@pytest.mark.parametrize("value", ["-1", "x", "2147483648"])
def test_max_uploads_that_is_no_such_number_is_an_invalid_argument(wire, uploads, value):
    reply = wire.call("GET", f"/{uploads[0]}", {"uploads": "", "max-uploads": value})
    reply.expect(400, "InvalidArgument")


def test_encoding_type_url_encodes_keys(wire, uploads):
    reply = wire.call("GET", f"/{uploads[0]}", {"uploads": "", "encoding-type": "url"})
    assert "gr%C3%B6%C3%9Fe" in reply.texts("Upload/Key") and reply.texts("EncodingType") == ["url"]


def test_an_unknown_encoding_type_is_an_invalid_argument(wire, uploads):
    reply = wire.call("GET", f"/{uploads[0]}", {"uploads": "", "encoding-type": "x"})
    reply.expect(400, "InvalidArgument")


def test_a_completed_or_aborted_upload_is_not_listed(s3, fresh):
    made = [s3.create_multipart_upload(Bucket=fresh, Key="k")["UploadId"] for _ in range(3)]
    s3.abort_multipart_upload(Bucket=fresh, Key="k", UploadId=made[0])
    named = {"Bucket": fresh, "Key": "k", "UploadId": made[1]}
    etag = s3.upload_part(**named, PartNumber=1, Body=b"x")["ETag"]
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert found(s3.list_multipart_uploads(Bucket=fresh)) == [("k", made[2])]


def test_an_empty_bucket_has_none(s3, fresh):
    assert found(s3.list_multipart_uploads(Bucket=fresh)) == []


@pytest.mark.parametrize("algorithm,kind", [("SHA256", "COMPOSITE"), ("CRC32", "FULL_OBJECT")])
def test_an_upload_shows_its_checksum_algorithm_and_type(s3, fresh, algorithm, kind):
    s3.create_multipart_upload(Bucket=fresh, Key="k", ChecksumAlgorithm=algorithm, ChecksumType=kind)
    upload = s3.list_multipart_uploads(Bucket=fresh)["Uploads"][0]
    assert (upload["ChecksumAlgorithm"], upload["ChecksumType"]) == (algorithm, kind)


def test_an_upload_without_a_checksum_algorithm_shows_none(wire, fresh):
    wire.call("POST", f"/{fresh}/k", {"uploads": ""}).expect(200)
    reply = wire.call("GET", f"/{fresh}", {"uploads": ""}).expect(200)
    assert reply.texts("Upload/Key") == ["k"]
    assert reply.texts("Upload/ChecksumAlgorithm") == reply.texts("Upload/ChecksumType") == []


def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3):
    with fails("NoSuchBucket", 404):
        s3.list_multipart_uploads(Bucket=new_bucket_name())


def test_anonymous_requests_can_not_list_uploads(wire, uploads):
    wire.anonymous("GET", f"/{uploads[0]}", {"uploads": ""}).expect(403, "AccessDenied")
