"""ListObjectsV2."""

import pytest

from conftest import fails
from listing import KEYS, Both, found, tree  # noqa: F401


class TestListObjectsV2(Both):
    method = "list_objects_v2"
    query = {"list-type": "2"}

    @pytest.mark.parametrize("after", ["a/b", "a/", "boo/baz/xyzzy", "zzz", "aaaa", "foo"])
    def test_start_after_begins_after_it_whether_or_not_it_is_a_key(self, s3, tree, after):
        answer = s3.list_objects_v2(Bucket=tree, StartAfter=after)
        assert found(answer)[0] == [key for key in KEYS if key.encode() > after.encode()]
        assert answer["StartAfter"] == after

    def test_key_count_counts_keys_and_common_prefixes(self, s3, tree):
        assert s3.list_objects_v2(Bucket=tree)["KeyCount"] == len(KEYS)
        assert s3.list_objects_v2(Bucket=tree, Delimiter="/", MaxKeys=3)["KeyCount"] == 3

    def test_a_continuation_token_goes_on_and_is_returned(self, s3, tree):
        first = s3.list_objects_v2(Bucket=tree, MaxKeys=3)
        token = first["NextContinuationToken"]
        second = s3.list_objects_v2(Bucket=tree, ContinuationToken=token)
        assert second["ContinuationToken"] == token and "NextContinuationToken" not in second
        assert found(first)[0] + found(second)[0] == KEYS

    def test_start_after_is_ignored_with_a_continuation_token(self, s3, tree):
        token = s3.list_objects_v2(Bucket=tree, MaxKeys=3)["NextContinuationToken"]
        answer = s3.list_objects_v2(Bucket=tree, ContinuationToken=token, StartAfter="zzz")
        assert found(answer)[0] == KEYS[3:]

    @pytest.mark.parametrize("token", ["!!!", "a b"])
    def test_a_continuation_token_that_is_none_is_an_invalid_argument(self, wire, tree, token):
        query = {"list-type": "2", "continuation-token": token}
        wire.call("GET", f"/{tree}", query).expect(400, "InvalidArgument")

    def test_an_empty_continuation_token_begins_at_the_start(self, s3, tree):
        answer = s3.list_objects_v2(Bucket=tree, ContinuationToken="")
        assert found(answer)[0] == KEYS and answer["ContinuationToken"] == ""

    def test_the_owner_is_returned_only_if_fetch_owner_is_true(self, s3, tree):
        assert "Owner" not in s3.list_objects_v2(Bucket=tree)["Contents"][0]
        assert "Owner" not in s3.list_objects_v2(Bucket=tree, FetchOwner=False)["Contents"][0]
        owner = s3.list_buckets()["Owner"]["ID"]
        assert s3.list_objects_v2(Bucket=tree, FetchOwner=True)["Contents"][0]["Owner"]["ID"] == owner

    def test_a_page_survives_the_deletion_of_its_last_key(self, s3, fresh):
        for name in "abcd":
            s3.put_object(Bucket=fresh, Key=name, Body=b"")
        token = s3.list_objects_v2(Bucket=fresh, MaxKeys=2)["NextContinuationToken"]
        s3.delete_object(Bucket=fresh, Key="b")
        assert found(s3.list_objects_v2(Bucket=fresh, ContinuationToken=token))[0] == ["c", "d"]

    def test_start_after_within_a_common_prefix(self, s3, tree):
        answer = s3.list_objects_v2(Bucket=tree, Delimiter="/", StartAfter="cquux/bla")
        assert found(answer) == (["foo", "foo+1 2", "gr\u00f6\u00dfe"], ["cquux/", "foo/"])

    def test_no_marker_of_version_1_is_returned(self, wire, tree):
        reply = wire.call("GET", f"/{tree}", self.query)
        assert reply.texts("Marker") == [] and reply.texts("NextMarker") == []
