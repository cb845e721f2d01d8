"""AbortMultipartUpload."""

from conftest import fails


def test_ends_the_upload_with_204(s3, bucket, key):
    made = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    s3.upload_part(Bucket=bucket, Key=key, UploadId=made, PartNumber=1, Body=b"x")
    answer = s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=made)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    with fails("NoSuchUpload", 404):
        s3.list_parts(Bucket=bucket, Key=key, UploadId=made)


def test_an_upload_that_does_not_exist_is_no_such_upload(s3, bucket, key):
    with fails("NoSuchUpload", 404):
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId="0" * 32)


def test_twice_is_no_such_upload(s3, bucket, key, upload):
    s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    with fails("NoSuchUpload", 404):
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)


def test_an_upload_of_another_key_is_no_such_upload(s3, bucket, key, upload):
    with fails("NoSuchUpload", 404):
        s3.abort_multipart_upload(Bucket=bucket, Key=key + "x", UploadId=upload)
    s3.list_parts(Bucket=bucket, Key=key, UploadId=upload)


def test_an_object_of_that_key_stays(s3, bucket, key, upload):
    s3.put_object(Bucket=bucket, Key=key, Body=b"there")
    s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"there"


def test_another_upload_of_that_key_goes_on(s3, bucket, key, upload):
    other = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=other)
    s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"x")


def test_anonymous_requests_can_not_abort(wire, s3, bucket, key, upload):
    wire.anonymous("DELETE", f"/{bucket}/{key}", {"uploadId": upload}).expect(403, "AccessDenied")
    s3.list_parts(Bucket=bucket, Key=key, UploadId=upload)
