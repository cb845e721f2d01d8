"""ListObjectVersions."""

import pytest

from conftest import enable, fails, make_bucket, new_bucket_name, remove_bucket


@pytest.fixture(scope="module")
def tree(s3):
    """A bucket, and what is in it as (key, version, whether it is a marker), in the order of the list."""
    name = new_bucket_name()
    make_bucket(s3, name)
    s3.put_object(Bucket=name, Key="d/1", Body=b"before")
    enable(s3, name)
    made = {"d/1": [("null", False)]}
    for key in ["a", "b", "d/1", "d/2", "gr\u00f6\u00dfe"]:
        for body in [b"1", b"22"]:
            version = s3.put_object(Bucket=name, Key=key, Body=body)["VersionId"]
            made.setdefault(key, []).insert(0, (version, False))
    made["b"].insert(0, (s3.delete_object(Bucket=name, Key="b")["VersionId"], True))
    yield name, [(key, *entry) for key in sorted(made) for entry in made[key]]
    remove_bucket(s3, name)


def entries(reply):
    """Versions and markers as they stand in the document, in one order."""
    listed = [element for element in reply.xml if element.tag in ("Version", "DeleteMarker")]
    return [(e.findtext("Key"), e.findtext("VersionId"), e.tag == "DeleteMarker") for e in listed]


def both(answer):
    versions = [(v["Key"], v["VersionId"], False) for v in answer.get("Versions", [])]
    return versions + [(v["Key"], v["VersionId"], True) for v in answer.get("DeleteMarkers", [])]


def test_versions_are_in_the_order_of_their_keys_and_the_newest_first(wire, tree):
    bucket, made = tree
    reply = wire.call("GET", f"/{bucket}", {"versions": ""}).expect(200)
    assert entries(reply) == made
    assert reply.texts("Name") == [bucket] and reply.texts("MaxKeys") == ["1000"]
    assert reply.texts("IsTruncated") == ["false"]


def test_the_first_of_each_key_is_the_latest(s3, tree):
    answer = s3.list_object_versions(Bucket=tree[0])
    listed = answer["Versions"] + answer["DeleteMarkers"]
    latest = {(v["Key"], v["VersionId"]) for v in listed if v["IsLatest"]}
    firsts = {}
    for key, version, _ in tree[1]:
        firsts.setdefault(key, version)
    assert latest == set(firsts.items())


def test_each_version_tells_size_etag_time_owner_and_storage_class(s3, tree):
    owner = s3.list_buckets()["Owner"]["ID"]
    for version in s3.list_object_versions(Bucket=tree[0])["Versions"]:
        head = s3.head_object(Bucket=tree[0], Key=version["Key"], VersionId=version["VersionId"])
        assert version["ETag"] == head["ETag"] and version["Size"] == head["ContentLength"]
        assert version["LastModified"].replace(microsecond=0) == head["LastModified"]
        assert version["StorageClass"] == "STANDARD" and version["Owner"]["ID"] == owner


def test_each_version_tells_which_checksum_it_has(s3, versioned):
    for algorithm in ["SHA256", "CRC32"]:
        s3.put_object(Bucket=versioned, Key="k", Body=b"x", ChecksumAlgorithm=algorithm)
    listed = s3.list_object_versions(Bucket=versioned)["Versions"]
    assert [version["ChecksumAlgorithm"] for version in listed] == [["CRC32"], ["SHA256"]]
    assert {version["ChecksumType"] for version in listed} == {"FULL_OBJECT"}


def test_a_delete_marker_has_neither_size_nor_etag(wire, tree):
    reply = wire.call("GET", f"/{tree[0]}", {"versions": "", "prefix": "b"})
    assert reply.texts("DeleteMarker/Key") == ["b"] and reply.texts("DeleteMarker/LastModified")
    for absent in ["Size", "ETag", "StorageClass", "ChecksumAlgorithm", "ChecksumType"]:
        assert reply.texts(f"DeleteMarker/{absent}") == []


def test_a_bucket_that_keeps_no_versions_lists_null_ones(s3, fresh):
    s3.put_object(Bucket=fresh, Key="k", Body=b"x")
    [version] = s3.list_object_versions(Bucket=fresh)["Versions"]
    assert version["VersionId"] == "null" and version["IsLatest"] is True


@pytest.mark.parametrize("prefix", ["d/", "d/1", "b", "none"])
def test_prefix_limits_the_list(s3, tree, prefix):
    answer = s3.list_object_versions(Bucket=tree[0], Prefix=prefix)
    assert sorted(both(answer)) == sorted(entry for entry in tree[1] if entry[0].startswith(prefix))
    assert answer["Prefix"] == prefix


def test_delimiter_folds_keys_into_common_prefixes(s3, tree):
    answer = s3.list_object_versions(Bucket=tree[0], Delimiter="/")
    assert answer["CommonPrefixes"] == [{"Prefix": "d/"}] and answer["Delimiter"] == "/"
    assert sorted(both(answer)) == sorted(entry for entry in tree[1] if "/" not in entry[0])


@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_pages_of_any_size_give_the_same_as_one(s3, tree, size, delimiter):
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket=tree[0], Delimiter=delimiter, PaginationConfig={"PageSize": size}
    )
    seen, prefixes = [], []
    for page in pages:
        common = [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
        assert len(both(page)) + len(common) <= size
        seen, prefixes = seen + both(page), prefixes + common
    assert sorted(seen) == sorted(e for e in tree[1] if not delimiter or delimiter not in e[0])
    assert prefixes == (["d/"] if delimiter else [])


def test_a_key_marker_alone_begins_after_that_key(s3, tree):
    answer = s3.list_object_versions(Bucket=tree[0], KeyMarker="d/1")
    assert sorted(both(answer)) == sorted(entry for entry in tree[1] if entry[0] > "d/1")
    assert answer["KeyMarker"] == "d/1"


def test_both_markers_go_on_within_a_key(wire, tree):
    bucket, made = tree
    key, version, _ = made[3]
    query = {"versions": "", "key-marker": key, "version-id-marker": version}
    assert entries(wire.call("GET", f"/{bucket}", query)) == made[4:]


def test_a_version_id_marker_without_a_key_marker_is_an_invalid_argument(s3, tree):
    with fails("InvalidArgument", 400):
        s3.list_object_versions(Bucket=tree[0], VersionIdMarker=tree[1][0][1])


def test_a_version_id_marker_that_can_be_none_is_an_invalid_argument(s3, tree):
    with fails("InvalidArgument", 400):
        s3.list_object_versions(Bucket=tree[0], KeyMarker="a", VersionIdMarker="nonsense")


def test_a_truncated_page_names_its_last_entry(s3, tree):
    answer = s3.list_object_versions(Bucket=tree[0], MaxKeys=2)
    assert answer["IsTruncated"] is True and answer["MaxKeys"] == 2
    assert (answer["NextKeyMarker"], answer["NextVersionIdMarker"]) == tree[1][1][:2]


def test_max_keys_of_0_is_an_empty_page_that_is_not_truncated(s3, tree):
    answer = s3.list_object_versions(Bucket=tree[0], MaxKeys=0)
    assert both(answer) == [] and answer["IsTruncated"] is False


@pytest.mark.parametrize("value", ["-1", "x", "2147483648"])
def test_max_keys_that_is_no_such_number_is_an_invalid_argument(wire, tree, value):
    wire.call("GET", f"/{tree[0]}", {"versions": "", "max-keys": value}).expect(400, "InvalidArgument")


def test_encoding_type_url_encodes_keys(wire, tree):
    reply = wire.call("GET", f"/{tree[0]}", {"versions": "", "encoding-type": "url"})
    assert "gr%C3%B6%C3%9Fe" in reply.texts("Version/Key") and reply.texts("EncodingType") == ["url"]


def test_an_unknown_encoding_type_is_an_invalid_argument(wire, tree):
    wire.call("GET", f"/{tree[0]}", {"versions": "", "encoding-type": "x"}).expect(400, "InvalidArgument")


def test_an_empty_bucket_has_none(s3, versioned):
    assert both(s3.list_object_versions(Bucket=versioned)) == []


def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3):
    with fails("NoSuchBucket", 404):
        s3.list_object_versions(Bucket=new_bucket_name())


def test_anonymous_requests_can_not_list_versions(wire, tree):
    wire.anonymous("GET", f"/{tree[0]}", {"versions": ""}).expect(403, "AccessDenied")
