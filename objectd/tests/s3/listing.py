"""What the cases of ListObjects and ListObjectsV2 share: a tree of keys, and the cases that hold for both."""

import pytest

import sums
from conftest import fails, make_bucket, new_bucket_name, remove_bucket

TREE = [
    "a",
    "a/b",
    "a/b/c",
    "asdf",
    "boo/bar",
    "boo/baz/xyzzy",
    "cquux/bla",
    "cquux/thud",
    "foo",
    "foo/bar",
    "foo+1 2",
    "gr\u00f6\u00dfe",
]
KEYS = sorted(TREE, key=lambda name: name.encode())


@pytest.fixture(scope="module")
def tree(s3):
    name = new_bucket_name()
    make_bucket(s3, name)
    for key in TREE:
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    yield name
    remove_bucket(s3, name)


def split(keys, prefix, delimiter):
    """What a delimiter makes of keys: those that stay, and the common prefixes."""
    stay, common = [], []
    for key in keys:
        rest = key[len(prefix):]
        if key.startswith(prefix) and delimiter and delimiter in rest:
            whole = prefix + rest.split(delimiter, 1)[0] + delimiter
            if whole not in common:
                common.append(whole)
        elif key.startswith(prefix):
            stay.append(key)
    return stay, common


def found(answer):
    keys = [entry["Key"] for entry in answer.get("Contents", [])]
    return keys, [entry["Prefix"] for entry in answer.get("CommonPrefixes", [])]


FOLDED = [
    ("", "/"),
    ("a", "/"),
    ("a/", "/"),
    ("a/b", "/"),
    ("boo/", "/"),
    ("boo/ba", "/"),
    ("none", "/"),
    ("", "o"),
    ("f", "oo"),
    ("", "a"),
    ("", "gr\u00f6"),
    ("", " "),
    ("foo", "+"),
    ("", "zzz"),
    ("cquux/", "bla"),
    ("a", ""),
    ("foo", ""),
    ("", ""),
]


class Both:
    """Cases of either version; `list` is the client's method."""

    method = None

    @pytest.fixture
    def list(self, s3):
        return getattr(s3, self.method)

    def test_lists_all_keys_in_the_order_of_their_bytes(self, list, tree):
        answer = list(Bucket=tree)
        assert found(answer) == (KEYS, []) and answer["IsTruncated"] is False
        assert answer["Name"] == tree and answer["MaxKeys"] == 1000 and answer["Prefix"] == ""

    def test_each_entry_tells_size_etag_time_and_storage_class(self, s3, list, tree):
        for entry in list(Bucket=tree)["Contents"]:
            head = s3.head_object(Bucket=tree, Key=entry["Key"])
            assert entry["ETag"] == head["ETag"] and entry["Size"] == head["ContentLength"]
            assert entry["LastModified"].replace(microsecond=0) == head["LastModified"]
            assert entry["StorageClass"] == "STANDARD"

    @pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
    def test_an_entry_tells_which_checksum_the_object_has(self, wire, s3, list, bucket, key, algorithm):
        body = b"what is listed"
        headers = {sums.header(algorithm): sums.of(algorithm, body)}
        wire.call("PUT", f"/{bucket}/{key}", headers=headers, body=body).expect(200)
        [entry] = list(Bucket=bucket, Prefix=key)["Contents"]
        assert (entry["ChecksumAlgorithm"], entry["ChecksumType"]) == ([algorithm], "FULL_OBJECT")

    def test_an_entry_without_a_checksum_of_its_client_has_the_default_one(self, wire, list, bucket, key):
        wire.call("PUT", f"/{bucket}/{key}", body=b"x").expect(200)
        [entry] = list(Bucket=bucket, Prefix=key)["Contents"]
        assert (entry["ChecksumAlgorithm"], entry["ChecksumType"]) == (["CRC64NVME"], "FULL_OBJECT")

    def test_an_entry_of_an_upload_in_parts_tells_its_checksums_type(self, s3, list, bucket, key):
        named = {"Bucket": bucket, "Key": key}
        upload = s3.create_multipart_upload(**named, ChecksumAlgorithm="SHA256")["UploadId"]
        sent = s3.upload_part(**named, UploadId=upload, PartNumber=1, Body=b"x", ChecksumAlgorithm="SHA256")
        parts = [{"PartNumber": 1, "ETag": sent["ETag"], "ChecksumSHA256": sent["ChecksumSHA256"]}]
        s3.complete_multipart_upload(**named, UploadId=upload, MultipartUpload={"Parts": parts})
        [entry] = list(Bucket=bucket, Prefix=key)["Contents"]
        assert (entry["ChecksumAlgorithm"], entry["ChecksumType"]) == (["SHA256"], "COMPOSITE")

    @pytest.mark.parametrize("prefix,delimiter", FOLDED)
    def test_prefix_and_delimiter_fold_keys_into_common_prefixes(self, list, tree, prefix, delimiter):
        answer = list(Bucket=tree, Prefix=prefix, Delimiter=delimiter)
        assert found(answer) == split(KEYS, prefix, delimiter)
        assert answer["Prefix"] == prefix and answer.get("Delimiter", "") == delimiter

    @pytest.mark.parametrize("prefix,delimiter", [("", ""), ("", "/"), ("a", "/"), ("", "o"), ("boo/", "")])
    @pytest.mark.parametrize("size", [1, 2, 3])
    def test_pages_of_any_size_give_the_same_as_one(self, s3, tree, prefix, delimiter, size):
        pages = s3.get_paginator(self.method).paginate(
            Bucket=tree, Prefix=prefix, Delimiter=delimiter, PaginationConfig={"PageSize": size}
        )
        stay, common = [], []
        for page in pages:
            keys, prefixes = found(page)
            assert len(keys) + len(prefixes) <= size and page["MaxKeys"] == size
            stay, common = stay + keys, common + prefixes
        assert (stay, common) == split(KEYS, prefix, delimiter)

    def test_an_exact_page_is_not_truncated(self, list, tree):
        assert list(Bucket=tree, MaxKeys=len(KEYS))["IsTruncated"] is False
        assert list(Bucket=tree, MaxKeys=len(KEYS) - 1)["IsTruncated"] is True

    def test_max_keys_0_is_an_empty_page_that_is_not_truncated(self, list, tree):
        answer = list(Bucket=tree, MaxKeys=0)
        assert found(answer) == ([], []) and answer["IsTruncated"] is False and answer["MaxKeys"] == 0

    def test_max_keys_never_returns_more_than_1000(self, list, tree):
        assert list(Bucket=tree, MaxKeys=5000)["MaxKeys"] == 1000

    @pytest.mark.parametrize("value", ["-1", "x", "2147483648"])
    def test_max_keys_that_is_no_such_number_is_an_invalid_argument(self, wire, tree, value):
        wire.call("GET", f"/{tree}", {**self.query, "max-keys": value}).expect(400, "InvalidArgument")

    def test_encoding_type_url_encodes_keys_and_prefixes(self, wire, tree):
        query = {**self.query, "encoding-type": "url", "delimiter": "/", "prefix": "gr\u00f6"}
        reply = wire.call("GET", f"/{tree}", query).expect(200)
        assert reply.texts("EncodingType") == ["url"] and reply.texts("Contents/Key") == ["gr%C3%B6%C3%9Fe"]
        assert reply.texts("Prefix") == ["gr%C3%B6"]

    def test_encoding_type_url_keeps_slashes_and_encodes_plus(self, wire, tree):
        query = {**self.query, "encoding-type": "url"}
        keys = wire.call("GET", f"/{tree}", query).texts("Contents/Key")
        assert "a/b/c" in keys and ("foo%2B1+2" in keys or "foo%2B1%202" in keys)

    def test_an_unknown_encoding_type_is_an_invalid_argument(self, wire, tree):
        wire.call("GET", f"/{tree}", {**self.query, "encoding-type": "base64"}).expect(400, "InvalidArgument")

    def test_an_empty_bucket_has_no_entries(self, list, fresh):
        answer = list(Bucket=fresh)
        assert found(answer) == ([], []) and answer["IsTruncated"] is False

    def test_a_bucket_that_does_not_exist_is_no_such_bucket(self, list):
        with fails("NoSuchBucket", 404):
            list(Bucket=new_bucket_name())

    def test_an_anonymous_request_is_access_denied(self, wire, tree):
        wire.anonymous("GET", f"/{tree}", self.query).expect(403, "AccessDenied")

    def test_a_key_just_put_is_listed_and_one_just_deleted_is_not(self, s3, list, fresh):
        for number in range(10):
            s3.put_object(Bucket=fresh, Key=f"k{number}", Body=b"")
            assert len(list(Bucket=fresh)["Contents"]) == number + 1
        s3.delete_object(Bucket=fresh, Key="k5")
        assert "k5" not in found(list(Bucket=fresh))[0]

    def test_unprintable_characters_survive_with_encoding_type_url(self, s3, list, fresh):
        name = "a\x01\r\nb\uffff"
        s3.put_object(Bucket=fresh, Key=name, Body=b"")
        assert found(list(Bucket=fresh)) == ([name], [])

    def test_an_expected_bucket_owner_that_does_not_own_it_is_access_denied(self, list, tree):
        with fails("AccessDenied", 403):
            list(Bucket=tree, ExpectedBucketOwner="111122223333")
