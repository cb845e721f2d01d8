"""CompleteMultipartUpload."""

import pytest

import sums
from conftest import fails

MIB = 1 << 20
LARGE = [bytes([number]) * (5 * MIB) for number in (1, 2)]


@pytest.fixture
def part(bucket, key, upload):
    return {"Bucket": bucket, "Key": key, "UploadId": upload}


def put(s3, part, bodies, **more):
    """Uploads the bodies as parts 1, 2, ... and returns what Complete takes."""
    answers = [s3.upload_part(**part, PartNumber=n, Body=body, **more) for n, body in enumerate(bodies, 1)]
    return [{"PartNumber": n, "ETag": answer["ETag"]} for n, answer in enumerate(answers, 1)]


def complete(s3, part, parts, **more):
    return s3.complete_multipart_upload(**part, MultipartUpload={"Parts": parts}, **more)


def test_makes_the_object_of_its_parts_in_order(s3, part):
    bodies = [*LARGE, b"the end"]
    answer = complete(s3, part, put(s3, part, bodies))
    assert answer["ETag"] == sums.multipart_etag(bodies)
    found = s3.get_object(Bucket=part["Bucket"], Key=part["Key"])
    assert found["Body"].read() == b"".join(bodies) and found["ETag"] == answer["ETag"]


def test_names_bucket_key_and_location(s3, part):
    answer = complete(s3, part, put(s3, part, [b"x"]))
    assert (answer["Bucket"], answer["Key"]) == (part["Bucket"], part["Key"]) and part["Key"] in answer["Location"]


def test_metadata_of_the_upload_becomes_the_objects(s3, bucket, key):
    made = s3.create_multipart_upload(Bucket=bucket, Key=key, Metadata={"a": "b"}, ContentType="text/plain")["UploadId"]
    part = {"Bucket": bucket, "Key": key, "UploadId": made}
    complete(s3, part, put(s3, part, [b"x"]))
    head = s3.head_object(Bucket=bucket, Key=key)
    assert head["Metadata"] == {"a": "b"} and head["ContentType"] == "text/plain"


def test_the_upload_is_gone_afterwards(s3, part):
    complete(s3, part, put(s3, part, [b"x"]))
    with fails("NoSuchUpload", 404):
        s3.list_parts(**part)


def test_completing_again_is_the_same_or_no_such_upload(s3, part):
    parts = put(s3, part, [b"x"])
    first = complete(s3, part, parts)
    try:
        assert complete(s3, part, parts)["ETag"] == first["ETag"]
    except s3.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "NoSuchUpload"


def test_parts_that_are_not_named_are_left_out(s3, part):
    parts = put(s3, part, [b"left out", b"taken"])
    complete(s3, part, parts[1:])
    found = s3.get_object(Bucket=part["Bucket"], Key=part["Key"])
    assert found["Body"].read() == b"taken" and found["ETag"] == sums.multipart_etag([b"taken"])


def test_numbers_need_not_be_consecutive(s3, part):
    first = s3.upload_part(**part, PartNumber=7, Body=LARGE[0])["ETag"]
    last = s3.upload_part(**part, PartNumber=10000, Body=b"end")["ETag"]
    complete(s3, part, [{"PartNumber": 7, "ETag": first}, {"PartNumber": 10000, "ETag": last}])
    assert s3.head_object(Bucket=part["Bucket"], Key=part["Key"])["ContentLength"] == 5 * MIB + 3


def test_a_part_below_five_mebibytes_that_is_not_the_last_is_entity_too_small(s3, part):
    parts = put(s3, part, [b"x" * (5 * MIB - 1), b"y"])
    with fails("EntityTooSmall", 400):
        complete(s3, part, parts)


def test_parts_out_of_order_are_invalid_part_order(s3, part):
    parts = put(s3, part, [LARGE[0], b"y"])
    with fails("InvalidPartOrder", 400):
        complete(s3, part, parts[::-1])


def test_a_part_named_twice_is_invalid_part_order(s3, part):
    parts = put(s3, part, [b"x"])
    with fails("InvalidPartOrder", 400):
        complete(s3, part, parts * 2)


def test_a_part_that_was_not_uploaded_is_invalid_part(s3, part):
    put(s3, part, [b"x"])
    with fails("InvalidPart", 400):
        complete(s3, part, [{"PartNumber": 2, "ETag": sums.etag(b"x")}])


def test_a_part_with_another_etag_is_invalid_part(s3, part):
    put(s3, part, [b"x"])
    with fails("InvalidPart", 400):
        complete(s3, part, [{"PartNumber": 1, "ETag": sums.etag(b"y")}])


def test_an_etag_without_quotes_is_taken(s3, part):
    parts = put(s3, part, [b"x"])
    complete(s3, part, [{"PartNumber": 1, "ETag": parts[0]["ETag"].strip('"')}])


def test_an_upload_that_does_not_exist_is_no_such_upload(s3, part):
    with fails("NoSuchUpload", 404):
        complete(s3, {**part, "UploadId": "0" * 32}, [{"PartNumber": 1, "ETag": sums.etag(b"x")}])


@pytest.mark.parametrize("document", [
    b"", b"x", b"<CompleteMultipartUpload>", b"<CompleteMultipartUpload/>", b"<Other/>",
    b"<CompleteMultipartUpload><Part/></CompleteMultipartUpload>",
    b"<CompleteMultipartUpload><Part><PartNumber>x</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>",
    b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>",
])
def test_a_document_that_is_none_is_malformed(wire, part, document):
    reply = wire.call("POST", f"/{part['Bucket']}/{part['Key']}", {"uploadId": part["UploadId"]}, body=document)
    assert reply.status == 400 and reply.code in ("MalformedXML", "InvalidRequest"), reply


def test_after_a_failure_the_upload_can_still_be_completed(s3, part):
    parts = put(s3, part, [b"x"])
    with fails("InvalidPart", 400):
        complete(s3, part, [{"PartNumber": 1, "ETag": sums.etag(b"y")}])
    complete(s3, part, parts)


def test_if_none_match_star_where_there_is_no_object(s3, part):
    complete(s3, part, put(s3, part, [b"x"]), IfNoneMatch="*")


def test_if_none_match_star_over_an_object_is_precondition_failed(s3, part):
    s3.put_object(Bucket=part["Bucket"], Key=part["Key"], Body=b"there")
    with fails("PreconditionFailed", 412):
        complete(s3, part, put(s3, part, [b"x"]), IfNoneMatch="*")
    assert s3.get_object(Bucket=part["Bucket"], Key=part["Key"])["Body"].read() == b"there"


def test_if_match_of_the_etag_replaces_the_object(s3, part):
    etag = s3.put_object(Bucket=part["Bucket"], Key=part["Key"], Body=b"there")["ETag"]
    complete(s3, part, put(s3, part, [b"x"]), IfMatch=etag)
    assert s3.get_object(Bucket=part["Bucket"], Key=part["Key"])["Body"].read() == b"x"


def test_if_match_of_another_etag_is_precondition_failed(s3, part):
    s3.put_object(Bucket=part["Bucket"], Key=part["Key"], Body=b"there")
    with fails("PreconditionFailed", 412):
        complete(s3, part, put(s3, part, [b"x"]), IfMatch=sums.etag(b"other"))


def begun(wire, bucket, key, headers):
    path = f"/{bucket}/{key}"
    return path, wire.call("POST", path, {"uploads": ""}, headers).expect(200).texts("UploadId")[0]


def finished(wire, path, made, algorithm, bodies, headers=None, named=None):
    document = "<CompleteMultipartUpload>"
    for number, body in enumerate(bodies, 1):
        value = sums.of(algorithm, body)
        part = {"partNumber": str(number), "uploadId": made}
        wire.call("PUT", path, part, {sums.header(algorithm): value}, body).expect(200)
        value = (named or {}).get(number, value)
        document += f"<Part><PartNumber>{number}</PartNumber><ETag>{sums.etag(body)}</ETag>"
        document += f"<Checksum{algorithm}>{value}</Checksum{algorithm}></Part>"
    document = (document + "</CompleteMultipartUpload>").encode()
    return wire.call("POST", path, {"uploadId": made}, headers, document)


PAIR = [bytes(range(256)) * (5 * MIB // 256), b"the end"]


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_a_composite_checksum_is_the_checksum_of_the_parts_checksums(wire, bucket, key, algorithm):
    path, made = begun(wire, bucket, key, {"x-amz-checksum-algorithm": algorithm})
    reply = finished(wire, path, made, algorithm, PAIR).expect(200)
    expected = sums.composite(algorithm, PAIR)
    assert reply.texts(sums.field(algorithm)) == [expected] and reply.texts("ChecksumType") == ["COMPOSITE"]
    head = wire.call("HEAD", path, headers={"x-amz-checksum-mode": "ENABLED"})
    assert head.header(sums.header(algorithm)) == expected
    assert head.header("x-amz-checksum-type") == "COMPOSITE"


def test_a_full_object_checksum_is_that_of_the_whole(wire, bucket, key):
    headers = {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT"}
    path, made = begun(wire, bucket, key, headers)
    whole = sums.of("CRC32", b"".join(PAIR))
    sent = {"x-amz-checksum-crc32": whole, "x-amz-checksum-type": "FULL_OBJECT"}
    reply = finished(wire, path, made, "CRC32", PAIR, sent).expect(200)
    assert reply.texts("ChecksumCRC32") == [whole] and reply.texts("ChecksumType") == ["FULL_OBJECT"]


def test_a_full_object_checksum_that_is_wrong_is_bad_digest(wire, bucket, key):
    headers = {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT"}
    path, made = begun(wire, bucket, key, headers)
    sent = {"x-amz-checksum-crc32": sums.of("CRC32", b"other"), "x-amz-checksum-type": "FULL_OBJECT"}
    finished(wire, path, made, "CRC32", [b"x"], sent).expect(400, "BadDigest")
    wire.call("DELETE", path, {"uploadId": made})


def test_a_parts_checksum_that_is_wrong_is_invalid_part(wire, bucket, key):
    path, made = begun(wire, bucket, key, {"x-amz-checksum-algorithm": "SHA256"})
    reply = finished(wire, path, made, "SHA256", [b"x"], named={1: sums.of("SHA256", b"y")})
    reply.expect(400, "InvalidPart")
    wire.call("DELETE", path, {"uploadId": made})


def test_an_object_size_that_is_wrong_is_refused(s3, part):
    parts = put(s3, part, [b"x"])
    with fails("InvalidRequest", 400):
        complete(s3, part, parts, MpuObjectSize=2)
    complete(s3, part, parts, MpuObjectSize=1)


def test_a_part_of_the_object_can_be_read_by_its_number(s3, part):
    bodies = [*LARGE, b"the end"]
    complete(s3, part, put(s3, part, bodies))
    for number, body in enumerate(bodies, 1):
        found = s3.get_object(Bucket=part["Bucket"], Key=part["Key"], PartNumber=number)
        assert found["ResponseMetadata"]["HTTPStatusCode"] == 206 and found["PartsCount"] == 3
        assert found["Body"].read() == body
    with fails("InvalidPartNumber", 416):
        s3.get_object(Bucket=part["Bucket"], Key=part["Key"], PartNumber=4)


@pytest.mark.parametrize("first,last", [(0, 5 * MIB - 1), (5 * MIB - 1, 5 * MIB), (5 * MIB, 10 * MIB + 6)])
def test_a_range_may_cross_parts(s3, part, first, last):
    bodies = [*LARGE, b"the end"]
    complete(s3, part, put(s3, part, bodies))
    found = s3.get_object(Bucket=part["Bucket"], Key=part["Key"], Range=f"bytes={first}-{last}")
    assert found["Body"].read() == b"".join(bodies)[first:last + 1]


def test_anonymous_requests_can_not_complete(wire, s3, part):
    put(s3, part, [b"x"])
    query = {"uploadId": part["UploadId"]}
    wire.anonymous("POST", f"/{part['Bucket']}/{part['Key']}", query, body=b"x").expect(403, "AccessDenied")
