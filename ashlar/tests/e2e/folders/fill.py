"""Fills a new store with one of each thing that is kept; prints the key of a user that it makes."""

import json
import os

import boto3

s3 = boto3.client("s3")
iam = boto3.client("iam", endpoint_url=os.environ["AWS_ENDPOINT_URL"])


def pattern(length):
    return (b"Ashlar keeps it. " * (length // 17 + 1))[:length]


def policy(**statement):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


s3.create_bucket(Bucket="plain")
s3.put_object(Bucket="plain", Key="inline", Body=b"small", Metadata={"who": "me"}, ContentType="text/x-old")
s3.put_object(Bucket="plain", Key="dir/logged", Body=pattern(100_000))
s3.put_object(Bucket="plain", Key="dir/tagged", Body=b"t", Tagging="colour=red&size=small")
upload = s3.create_multipart_upload(Bucket="plain", Key="parts")["UploadId"]
named = {"Bucket": "plain", "Key": "parts", "UploadId": upload}
parts = [(1, 5 << 20), (2, 70_000)]
parts = [{"PartNumber": n, "ETag": s3.upload_part(**named, PartNumber=n, Body=pattern(size))["ETag"]} for n, size in parts]
s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
upload = s3.create_multipart_upload(Bucket="plain", Key="unfinished")["UploadId"]
s3.upload_part(Bucket="plain", Key="unfinished", UploadId=upload, PartNumber=1, Body=pattern(50_000))
rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["https://old.example"]}
s3.put_bucket_cors(Bucket="plain", CORSConfiguration={"CORSRules": [rule]})

s3.create_bucket(Bucket="kept", ObjectLockEnabledForBucket=True)
for body in (b"first", b"second"):
    s3.put_object(Bucket="kept", Key="k", Body=body)
s3.delete_object(Bucket="kept", Key="k")
s3.put_object(Bucket="kept", Key="held", Body=b"held", ObjectLockLegalHoldStatus="ON")

s3.create_bucket(Bucket="shared")
iam.create_user(UserName="olga")
key = iam.create_access_key(UserName="olga")["AccessKey"]
reads = policy(Action="s3:GetObject", Resource="arn:aws:s3:::plain/*")
iam.put_user_policy(UserName="olga", PolicyName="reads", PolicyDocument=reads)
arn = iam.get_user(UserName="olga")["User"]["Arn"]
puts = policy(Principal={"AWS": arn}, Action="s3:PutObject", Resource="arn:aws:s3:::shared/*")
s3.put_bucket_policy(Bucket="shared", Policy=puts)
print(key["AccessKeyId"], key["SecretAccessKey"])
