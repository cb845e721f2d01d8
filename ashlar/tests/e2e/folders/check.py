"""Finds what fill.py left, and that all of it still works. OLGA is the file with the user's key."""

import os

import boto3
from botocore.exceptions import ClientError

s3 = boto3.client("s3")
key_id, secret = open(os.environ["OLGA"]).read().split()
olga = boto3.client("s3", aws_access_key_id=key_id, aws_secret_access_key=secret)


def pattern(length):
    return (b"Ashlar keeps it. " * (length // 17 + 1))[:length]


def body(bucket, key, client=s3, **which):
    return client.get_object(Bucket=bucket, Key=key, **which)["Body"].read()


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
    else:
        raise AssertionError(f"{arguments} was not refused")


assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["kept", "plain", "shared"]
listed = [found["Key"] for found in s3.list_objects_v2(Bucket="plain")["Contents"]]
assert listed == ["dir/logged", "dir/tagged", "inline", "parts"], listed
head = s3.head_object(Bucket="plain", Key="inline")
assert (head["Metadata"], head["ContentType"]) == ({"who": "me"}, "text/x-old")
assert body("plain", "inline") == b"small"
assert body("plain", "dir/logged") == pattern(100_000)
assert body("plain", "parts") == pattern(5 << 20) + pattern(70_000)
assert body("plain", "parts", Range="bytes=5242870-5242890") == (pattern(5 << 20) + pattern(70_000))[5242870:5242891]
tags = s3.get_object_tagging(Bucket="plain", Key="dir/tagged")["TagSet"]
assert {tag["Key"]: tag["Value"] for tag in tags} == {"colour": "red", "size": "small"}
cors = s3.get_bucket_cors(Bucket="plain")["CORSRules"]
assert cors[0]["AllowedOrigins"] == ["https://old.example"]

# An upload goes on where it was.
[upload] = s3.list_multipart_uploads(Bucket="plain")["Uploads"]
named = {"Bucket": "plain", "Key": "unfinished", "UploadId": upload["UploadId"]}
[part] = s3.list_parts(**named)["Parts"]
part = {"PartNumber": 1, "ETag": part["ETag"]}
s3.complete_multipart_upload(**named, MultipartUpload={"Parts": [part]})
assert body("plain", "unfinished") == pattern(50_000)

found = s3.list_object_versions(Bucket="kept", Prefix="k")
assert len(found["Versions"]) == 2 and found["DeleteMarkers"][0]["IsLatest"]
bodies = [body("kept", "k", VersionId=version["VersionId"]) for version in found["Versions"]]
assert bodies == [b"second", b"first"]
s3.delete_object(Bucket="kept", Key="k", VersionId=found["DeleteMarkers"][0]["VersionId"])
assert body("kept", "k") == b"second"
held = s3.head_object(Bucket="kept", Key="held")["VersionId"]
refused("AccessDenied", s3.delete_object, Bucket="kept", Key="held", VersionId=held)

# A user's key, the policy of the user, and that of a bucket.
assert body("plain", "inline", olga) == b"small"
refused("AccessDenied", olga.put_object, Bucket="plain", Key="x", Body=b"x")
olga.put_object(Bucket="shared", Key="x", Body=b"x")
assert s3.get_public_access_block(Bucket="shared")["PublicAccessBlockConfiguration"]["BlockPublicPolicy"]

# What is there goes, and new things come.
s3.delete_object(Bucket="plain", Key="parts")
s3.put_object(Bucket="plain", Key="new", Body=pattern(200_000))
assert body("plain", "new") == pattern(200_000)
print("ALL-RIGHT")
