"""aws-chunked bodies: signed chunks, signed and unsigned trailers."""

import pytest

import sigv4
import sums

PIECES = [b"a" * 65536, b"b" * 65536, b"c" * 1000]
BODY = b"".join(PIECES)
CRC = ("x-amz-checksum-crc32", sums.of("CRC32", BODY))
MODES = {
    "signed": (sigv4.STREAMING, None),
    "signed_with_a_trailer": (sigv4.STREAMING_TRAILER, CRC),
    "unsigned_with_a_trailer": (sigv4.UNSIGNED_TRAILER, CRC),
}
SIGNED = ["signed", "signed_with_a_trailer"]
TRAILED = ["signed_with_a_trailer", "unsigned_with_a_trailer"]


@pytest.fixture
def put(wire, bucket, key):
    def put(mode, pieces=PIECES, **options):
        payload, trailer = MODES[mode]
        options.setdefault("trailer", trailer)
        return wire.chunked(f"/{bucket}/{key}", pieces, payload, **options)

    yield put


@pytest.fixture
def nothing(wire, bucket, key):
    def nothing():
        wire.call("HEAD", f"/{bucket}/{key}").expect(404)

    return nothing


@pytest.mark.parametrize("mode", MODES)
def test_a_right_body_is_stored_without_its_framing(wire, bucket, key, put, mode):
    assert put(mode).expect(200).header("etag") == sums.etag(BODY)
    found = wire.call("GET", f"/{bucket}/{key}")
    assert found.body == BODY and found.header("content-encoding") is None


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_body_is_stored(put, mode):
    trailer = ("x-amz-checksum-crc32", sums.of("CRC32", b"")) if mode in TRAILED else None
    assert put(mode, pieces=[], trailer=trailer).expect(200).header("etag") == sums.etag(b"")


@pytest.mark.parametrize("mode", MODES)
def test_other_content_encodings_are_kept(wire, bucket, key, put, mode):
    put(mode, headers={"content-encoding": "aws-chunked,gzip"}).expect(200)
    assert wire.call("HEAD", f"/{bucket}/{key}").header("content-encoding") == "gzip"


@pytest.mark.parametrize("mode", SIGNED)
def test_a_changed_byte_does_not_match_its_signature(put, nothing, mode):
    put(mode, mangle=lambda body: body.replace(b"ccc", b"cdc", 1)).expect(403, "SignatureDoesNotMatch")
    nothing()


@pytest.mark.parametrize("mode", SIGNED)
def test_a_changed_chunk_signature_does_not_match(put, nothing, mode):
    def mangle(body):
        at = body.index(b"chunk-signature=") + 16
        return body[:at] + (b"1" if body[at:at + 1] != b"1" else b"2") + body[at + 1:]

    put(mode, mangle=mangle).expect(403, "SignatureDoesNotMatch")
    nothing()


@pytest.mark.parametrize("mode", SIGNED)
def test_chunks_in_another_order_do_not_match(put, nothing, mode):
    def mangle(body):
        size = len(b"10000;chunk-signature=") + 64 + 2 + 65536 + 2
        return body[size:2 * size] + body[:size] + body[2 * size:]

    put(mode, mangle=mangle).expect(403, "SignatureDoesNotMatch")
    nothing()


@pytest.mark.parametrize("mode", SIGNED)
def test_a_chunk_without_a_signature_is_refused(put, nothing, mode):
    def mangle(body):
        line, rest = body.split(b"\r\n", 1)
        return line.split(b";")[0] + b"\r\n" + rest

    assert 400 <= put(mode, mangle=mangle).status < 500
    nothing()


@pytest.mark.parametrize("mode", MODES)
def test_a_body_that_ends_early_is_incomplete(put, nothing, mode):
    reply = put(mode, mangle=lambda body: body[:70000])
    assert 400 <= reply.status < 500, reply
    nothing()


@pytest.mark.parametrize("mode", MODES)
def test_without_its_last_chunk_a_body_is_incomplete(put, nothing, mode):
    def mangle(body):
        return body[:body.rindex(b"c" * 1000) + 1002]

    assert 400 <= put(mode, mangle=mangle).status < 500
    nothing()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("off", [-1, 1])
def test_a_decoded_length_that_is_wrong_is_refused(put, nothing, mode, off):
    reply = put(mode, declared=len(BODY) + off)
    assert 400 <= reply.status < 500, reply
    nothing()


@pytest.mark.parametrize("mode", MODES)
def test_without_a_decoded_length_it_is_missing_content_length(wire, bucket, key, mode):
    payload, trailer = MODES[mode]
    headers = {"content-encoding": "aws-chunked"} | ({"x-amz-trailer": trailer[0]} if trailer else {})
    wire.call("PUT", f"/{bucket}/{key}", headers=headers, payload=payload, body=b"0\r\n\r\n").expect(411, "MissingContentLength")


@pytest.mark.parametrize("value", ["-1", "x", "1.5"])
def test_a_decoded_length_that_is_no_number_is_refused(put, nothing, value):
    assert put("signed", declared=value).status == 400
    nothing()


@pytest.mark.parametrize("mode", TRAILED)
def test_a_trailing_checksum_that_is_wrong_is_bad_digest(put, nothing, mode):
    put(mode, trailer=("x-amz-checksum-crc32", sums.of("CRC32", b"other"))).expect(400, "BadDigest")
    nothing()


@pytest.mark.parametrize("mode", TRAILED)
@pytest.mark.parametrize("algorithm", sums.NAMES)
def test_a_trailing_checksum_of_any_algorithm_is_stored(wire, bucket, key, put, mode, algorithm):
    value = sums.of(algorithm, BODY)
    reply = put(mode, trailer=(sums.header(algorithm), value)).expect(200)
    assert reply.header(sums.header(algorithm)) == value
    head = wire.call("HEAD", f"/{bucket}/{key}", headers={"x-amz-checksum-mode": "ENABLED"})
    assert head.header(sums.header(algorithm)) == value


@pytest.mark.parametrize("mode", TRAILED)
def test_a_trailer_that_was_announced_and_does_not_come_is_refused(put, nothing, mode):
    def mangle(body):
        at = body.index(b"x-amz-checksum-crc32:")
        return body[:at] + b"\r\n"

    reply = put(mode, mangle=mangle)
    assert reply.status == 400 and reply.code in ("IncompleteBody", "MalformedTrailerError"), reply
    nothing()


def test_a_trailer_other_than_the_announced_one_is_malformed(put, nothing):
    reply = put("unsigned_with_a_trailer", headers={"x-amz-trailer": "x-amz-checksum-sha256"})
    assert reply.status == 400 and reply.code in ("MalformedTrailerError", "IncompleteBody", "InvalidRequest"), reply
    nothing()


def test_a_trailer_signature_that_is_wrong_does_not_match(put, nothing):
    def mangle(body):
        at = body.index(b"x-amz-trailer-signature:") + 24
        return body[:at] + (b"1" if body[at:at + 1] != b"1" else b"2") + body[at + 1:]

    put("signed_with_a_trailer", mangle=mangle).expect(403, "SignatureDoesNotMatch")
    nothing()


def test_a_signed_trailer_without_its_signature_is_refused(put, nothing):
    def mangle(body):
        at = body.index(b"x-amz-trailer-signature:")
        return body[:at] + b"\r\n"

    assert 400 <= put("signed_with_a_trailer", mangle=mangle).status < 500
    nothing()


def test_a_chunk_below_8_kibibytes_that_is_not_the_last_is_refused(put, nothing):
    put("signed", pieces=[b"a" * 8191, b"b" * 10]).expect(403, "InvalidChunkSizeError")
    nothing()


@pytest.mark.parametrize("head", [b"zz", b"-5", b"ffffffffffffffff", b"0x10", b""])
def test_a_chunk_size_that_is_none_is_refused(put, nothing, head):
    assert 400 <= put("unsigned_with_a_trailer", mangle=lambda body: head + b"\r\n" + body).status < 500
    nothing()


def test_signed_chunks_of_an_anonymous_request_are_refused(wire, bucket, key, nothing):
    headers = {"x-amz-content-sha256": sigv4.STREAMING, "x-amz-decoded-content-length": "0"}
    reply = wire.anonymous("PUT", f"/{bucket}/{key}", headers=headers, body=b"0;chunk-signature=" + b"0" * 64 + b"\r\n\r\n")
    reply.expect(403, "AccessDenied")
    nothing()


@pytest.mark.parametrize("mode", MODES)
def test_a_part_can_be_uploaded(wire, s3, bucket, key, upload, mode):
    payload, trailer = MODES[mode]
    query = {"partNumber": "1", "uploadId": upload}
    wire.chunked(f"/{bucket}/{key}", PIECES, payload, trailer=trailer, query=list(query.items())).expect(200)
    assert s3.list_parts(Bucket=bucket, Key=key, UploadId=upload)["Parts"][0]["ETag"] == sums.etag(BODY)


@pytest.mark.parametrize("calculation", ["when_supported", "when_required"])
@pytest.mark.parametrize("signing", [None, False])
def test_every_configuration_of_boto3_stores_a_stream(configured, bucket, key, calculation, signing):
    import io

    settings = {"addressing_style": "path"} | ({} if signing is None else {"payload_signing_enabled": signing})
    client = configured(request_checksum_calculation=calculation, s3=settings)
    client.put_object(Bucket=bucket, Key=key, Body=io.BytesIO(BODY))
    assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == BODY
