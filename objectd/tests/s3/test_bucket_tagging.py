"""PutBucketTagging, GetBucketTagging, DeleteBucketTagging."""

import pytest

from conftest import fails, new_bucket_name


def put(s3, bucket, *tags):
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": key, "Value": value} for key, value in tags]})


def tags(s3, bucket):
    return [(tag["Key"], tag["Value"]) for tag in s3.get_bucket_tagging(Bucket=bucket)["TagSet"]]


def test_tags_are_returned_as_they_were_put(s3, fresh):
    put(s3, fresh, ("team", "storage"), ("cost centre", ""), ("gr\u00f6\u00dfe", "a+b-c=d._:/@"))
    assert tags(s3, fresh) == [("team", "storage"), ("cost centre", ""), ("gr\u00f6\u00dfe", "a+b-c=d._:/@")]


def test_tags_replace_those_before(s3, fresh):
    put(s3, fresh, ("a", "1"), ("b", "2"))
    put(s3, fresh, ("c", "3"))
    assert tags(s3, fresh) == [("c", "3")]


def test_a_bucket_without_tags_is_no_such_tag_set(s3, fresh):
    with fails("NoSuchTagSet", 404):
        s3.get_bucket_tagging(Bucket=fresh)


def test_delete_removes_them_with_204(s3, fresh):
    put(s3, fresh, ("a", "1"))
    assert s3.delete_bucket_tagging(Bucket=fresh)["ResponseMetadata"]["HTTPStatusCode"] == 204
    with fails("NoSuchTagSet", 404):
        s3.get_bucket_tagging(Bucket=fresh)


def test_delete_where_there_are_none_is_204(s3, fresh):
    s3.delete_bucket_tagging(Bucket=fresh)


def test_fifty_tags_of_the_longest_names_and_values_are_the_limit(s3, fresh):
    most = [(f"{number:02}" + "\u65e5" * 126, "\u672c" * 256) for number in range(50)]
    put(s3, fresh, *most)
    assert tags(s3, fresh) == most


def test_more_than_fifty_tags_are_refused(s3, fresh):
    with pytest.raises(s3.exceptions.ClientError):
        put(s3, fresh, *((str(number), "") for number in range(51)))
    with fails("NoSuchTagSet", 404):
        s3.get_bucket_tagging(Bucket=fresh)


@pytest.mark.parametrize("tag", [("k" * 129, ""), ("", "v"), ("k", "v" * 257), ("aws:k", "v"), ("k<", "v"), ("k", "v&")])
def test_a_tag_is_invalid_with(wire, fresh, tag):
    key, value = (text.replace("&", "&amp;").replace("<", "&lt;") for text in tag)
    document = f"<Tagging><TagSet><Tag><Key>{key}</Key><Value>{value}</Value></Tag></TagSet></Tagging>".encode()
    wire.call("PUT", f"/{fresh}", {"tagging": ""}, body=document).expect(400, "InvalidTag")


def test_a_key_given_twice_is_an_invalid_tag(s3, fresh):
    with fails("InvalidTag", 400):
        put(s3, fresh, ("k", "1"), ("k", "2"))


@pytest.mark.parametrize("document", [b"x", b"<Tagging/>", b"<Other/>", b"<Tagging><TagSet><Tag/></TagSet></Tagging>"])
def test_a_document_that_is_none_is_malformed_xml(wire, fresh, document):
    wire.call("PUT", f"/{fresh}", {"tagging": ""}, body=document).expect(400, "MalformedXML")


@pytest.mark.parametrize("operation", ["get_bucket_tagging", "delete_bucket_tagging"])
def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3, operation):
    with fails("NoSuchBucket", 404):
        getattr(s3, operation)(Bucket=new_bucket_name())


def test_a_bucket_made_anew_has_no_tags(s3, buckets):
    name = buckets()
    put(s3, name, ("a", "1"))
    s3.delete_bucket(Bucket=name)
    buckets(name)
    with fails("NoSuchTagSet", 404):
        s3.get_bucket_tagging(Bucket=name)


def test_anonymous_requests_can_not_change_them(wire, s3, fresh):
    document = b"<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>"
    wire.anonymous("PUT", f"/{fresh}", {"tagging": ""}, body=document).expect(403, "AccessDenied")
    with fails("NoSuchTagSet", 404):
        s3.get_bucket_tagging(Bucket=fresh)
