"""PutBucketEncryption, GetBucketEncryption, DeleteBucketEncryption."""

import base64
import hashlib

import pytest

from conftest import fails, new_bucket_name

def rules(algorithm="AES256", **more):
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": algorithm}, **more}]}


def put(s3, bucket, setting):
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=setting)


def test_the_setting_is_given_back(s3, fresh):
    put(s3, fresh, rules())
    found = s3.get_bucket_encryption(Bucket=fresh)["ServerSideEncryptionConfiguration"]["Rules"]
    assert [rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] for rule in found] == ["AES256"]
    assert found[0]["BucketKeyEnabled"] is False


def test_bucket_keys_are_accepted_and_given_back(s3, fresh):
    put(s3, fresh, rules(BucketKeyEnabled=True))
    found = s3.get_bucket_encryption(Bucket=fresh)["ServerSideEncryptionConfiguration"]["Rules"]
    assert found[0]["BucketKeyEnabled"] is True


def test_the_setting_is_for_what_is_put_without_a_header(s3, fresh):
    put(s3, fresh, rules())
    assert s3.put_object(Bucket=fresh, Key="a", Body=b"x")["ServerSideEncryption"] == "AES256"
    assert s3.head_object(Bucket=fresh, Key="a")["ServerSideEncryption"] == "AES256"
    copied = s3.copy_object(Bucket=fresh, Key="b", CopySource={"Bucket": fresh, "Key": "a"})
    assert copied["ServerSideEncryption"] == "AES256"
    upload = s3.create_multipart_upload(Bucket=fresh, Key="c")
    assert upload["ServerSideEncryption"] == "AES256"


def test_deleting_the_setting_leaves_objects_as_they_are(s3, fresh):
    put(s3, fresh, rules())
    s3.put_object(Bucket=fresh, Key="a", Body=b"x")
    s3.delete_bucket_encryption(Bucket=fresh)
    s3.delete_bucket_encryption(Bucket=fresh)
    answer = s3.get_object(Bucket=fresh, Key="a")
    assert (answer["ServerSideEncryption"], answer["Body"].read()) == ("AES256", b"x")


def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3):
    with fails("NoSuchBucket", 404):
        put(s3, new_bucket_name(), rules())
    with fails("NoSuchBucket", 404):
        s3.get_bucket_encryption(Bucket=new_bucket_name())


def test_a_key_of_kms_is_not_applicable_to_aes256(wire, fresh):
    inner = "<SSEAlgorithm>AES256</SSEAlgorithm><KMSMasterKeyID>k</KMSMasterKeyID>"
    reply(wire, fresh, default(inner)).expect(400, "InvalidArgument")


@pytest.mark.parametrize(
    "rule",
    ["", "<Rule/>", "<Rule><BucketKeyEnabled>true</BucketKeyEnabled></Rule>", "twice", "unknown"],
)
def test_what_is_not_one_rule_with_a_known_algorithm_is_malformed(wire, fresh, rule):
    one = default("<SSEAlgorithm>AES256</SSEAlgorithm>")
    rule = {"twice": one * 2, "unknown": default("<SSEAlgorithm>AES512</SSEAlgorithm>")}.get(rule, rule)
    reply(wire, fresh, rule).expect(400, "MalformedXML")


def test_strangers_may_not_see_the_setting(wire, bucket):
    wire.anonymous("GET", f"/{bucket}", {"encryption": ""}).expect(403, "AccessDenied")


def default(inner):
    return f"<Rule><ApplyServerSideEncryptionByDefault>{inner}</ApplyServerSideEncryptionByDefault></Rule>"


def reply(wire, bucket, rule):
    body = f"<ServerSideEncryptionConfiguration>{rule}</ServerSideEncryptionConfiguration>".encode()
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    return wire.call("PUT", f"/{bucket}", {"encryption": ""}, {"content-md5": md5}, body)
