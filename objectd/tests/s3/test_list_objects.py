"""ListObjects, version 1."""

import pytest

from listing import KEYS, Both, found, tree  # noqa: F401


class TestListObjects(Both):
    method = "list_objects"
    query = {}

    @pytest.mark.parametrize("marker", ["a/b", "a/", "boo/baz/xyzzy", "zzz", "aaaa", "foo"])
    def test_marker_begins_after_it_whether_or_not_it_is_a_key(self, s3, tree, marker):
        answer = s3.list_objects(Bucket=tree, Marker=marker)
        assert found(answer)[0] == [key for key in KEYS if key.encode() > marker.encode()]
        assert answer["Marker"] == marker

    def test_a_marker_within_a_common_prefix_goes_on_with_that_prefix(self, s3, tree):
        answer = s3.list_objects(Bucket=tree, Delimiter="/", Marker="boo/bar")
        assert found(answer)[1] == ["boo/", "cquux/", "foo/"]

    def test_a_marker_that_is_a_common_prefix_goes_on_after_it(self, s3, tree):
        answer = s3.list_objects(Bucket=tree, Delimiter="/", Marker="boo/")
        assert found(answer)[1] == ["cquux/", "foo/"]

    def test_next_marker_is_returned_only_with_a_delimiter(self, s3, tree):
        assert "NextMarker" not in s3.list_objects(Bucket=tree, MaxKeys=1)
        assert s3.list_objects(Bucket=tree, MaxKeys=2, Delimiter="/")["NextMarker"] == "a/"

    def test_next_marker_goes_on_where_the_page_ended(self, s3, tree):
        first = s3.list_objects(Bucket=tree, MaxKeys=2, Delimiter="/")
        second = s3.list_objects(Bucket=tree, MaxKeys=2, Delimiter="/", Marker=first["NextMarker"])
        assert found(second) == (["asdf"], ["boo/"])

    def test_every_entry_names_the_owner(self, s3, tree):
        owner = s3.list_buckets()["Owner"]["ID"]
        assert {entry["Owner"]["ID"] for entry in s3.list_objects(Bucket=tree)["Contents"]} == {owner}

    def test_a_marker_is_returned_encoded(self, wire, tree):
        reply = wire.call("GET", f"/{tree}", {"marker": "gr\u00f6", "encoding-type": "url"})
        assert reply.texts("Marker") == ["gr%C3%B6"]
