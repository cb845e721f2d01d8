"""POST Object: uploads by browser forms."""

import base64
import datetime
import json

import pytest

import sigv4
import sums
from conftest import fails, new_bucket_name

BODY = b"what is uploaded\r\n--not-the-boundary\r\n"


def encode(fields, file=BODY, filename="a b.txt", after=(), boundary="xYzZY"):
    out = b""
    for name, value in fields:
        out += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    if file is not None:
        out += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
            "Content-Type: text/html\r\n\r\n"
        ).encode() + file + b"\r\n"
    for name, value in after:
        out += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    return out + f"--{boundary}--\r\n".encode()


class Poster:
    def __init__(self, wire, bucket):
        self.wire, self.bucket = wire, bucket

    def signed(self, fields, conditions, keys=None, expires=600, when=None, policy=None):
        """The fields with the policy and its signature behind them."""
        keys, when = keys or self.wire.keys, when or sigv4.When()
        signing = [
            ("x-amz-algorithm", "AWS4-HMAC-SHA256"), ("x-amz-credential", f"{keys.access}/{sigv4.scope(keys, when)}"),
            ("x-amz-date", when.basic),
        ]
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=expires)
        document = {
            "expiration": end.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "conditions": [*conditions, *({name: value} for name, value in signing)],
        }
        text = base64.b64encode(json.dumps(document).encode() if policy is None else policy).decode()
        return [*fields, *signing, ("policy", text), ("x-amz-signature", sigv4.sign(keys, when, text))]

    def send(self, fields, path=None, headers=None, **form):
        headers = {"content-type": "multipart/form-data; boundary=xYzZY", **(headers or {})}
        return self.wire.anonymous("POST", path or f"/{self.bucket}", headers=headers, body=encode(fields, **form))

    def post(self, fields, conditions=None, file=BODY, filename="a b.txt", after=(), headers=None, path=None, **signing):
        if conditions is None:
            conditions = [{name: value} for name, value in fields]
        signed = self.signed(fields, conditions, **signing)
        return self.send(signed, path, headers, file=file, filename=filename, after=after)


@pytest.fixture
def poster(wire, bucket):
    return Poster(wire, bucket)


@pytest.fixture
def absent(wire, bucket, key):
    yield
    wire.call("HEAD", f"/{bucket}/{key}").expect(404)


def test_a_form_of_boto3_uploads_its_file(s3, wire, bucket, key):
    made = s3.generate_presigned_post(bucket, key, Fields={"acl": "private"}, Conditions=[{"acl": "private"}])
    Poster(wire, bucket).send(list(made["fields"].items())).expect(204)
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == BODY


def test_an_upload_is_204_with_etag_and_location(poster, s3, bucket, key):
    reply = poster.post([("key", key)]).expect(204)
    assert reply.header("etag") == sums.etag(BODY) and key in reply.header("location")
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == BODY


@pytest.mark.parametrize("size", [0, 1, 3072, 3073, 100000, 5 << 20])
def test_a_file_of_any_size_is_stored(poster, s3, bucket, key, size):
    body = (b"0123456789abcdef\r\n--xYz" * (size // 16 + 1))[:size]
    poster.post([("key", key)], file=body).expect(204)
    found = s3.get_object(Bucket=bucket, Key=key)
    assert found["Body"].read() == body and found["ETag"] == sums.etag(body)


@pytest.mark.parametrize("status,expected", [("200", 200), ("201", 201), ("204", 204), ("999", 204), ("x", 204)])
def test_success_action_status_chooses_the_status(poster, key, status, expected):
    poster.post([("key", key), ("success_action_status", status)]).expect(expected)


def test_success_action_status_201_returns_a_document(poster, bucket, key):
    reply = poster.post([("key", key), ("success_action_status", "201")]).expect(201)
    assert reply.xml.tag == "PostResponse" and reply.texts("Bucket") == [bucket] and reply.texts("Key") == [key]
    assert reply.texts("ETag") == [sums.etag(BODY)] and key in reply.texts("Location")[0]


def test_success_action_redirect_is_303_with_what_was_stored(poster, bucket, key):
    reply = poster.post([("key", key), ("success_action_redirect", "https://example.com/done")]).expect(303)
    location = reply.header("location")
    assert location.startswith("https://example.com/done?bucket=" + bucket) and "&key=" in location and "&etag=" in location


def test_a_redirect_that_is_no_url_is_ignored(poster, key):
    poster.post([("key", key), ("success_action_redirect", "javascript:alert(1)")]).expect(204)


def test_the_key_may_hold_the_files_name(poster, s3, bucket, key):
    poster.post([("key", key + "/${filename}")], [["starts-with", "$key", key]]).expect(204)
    s3.head_object(Bucket=bucket, Key=key + "/a b.txt")


def test_a_files_path_is_no_part_of_its_name(poster, s3, bucket, key):
    poster.post([("key", key + "/${filename}")], [["starts-with", "$key", key]], filename="../../x/evil.txt").expect(204)
    s3.head_object(Bucket=bucket, Key=key + "/evil.txt")


def test_system_and_user_metadata_are_stored(poster, s3, bucket, key):
    fields = [
        ("key", key), ("Content-Type", "image/png"), ("Cache-Control", "no-store"), ("Content-Disposition", "inline"),
        ("x-amz-meta-colour", "blue"),
    ]
    poster.post(fields).expect(204)
    head = s3.head_object(Bucket=bucket, Key=key)
    assert head["ContentType"] == "image/png" and head["CacheControl"] == "no-store"
    assert head["ContentDisposition"] == "inline" and head["Metadata"] == {"colour": "blue"}


def test_without_a_content_type_field_it_is_binary(poster, s3, bucket, key):
    poster.post([("key", key)]).expect(204)
    assert s3.head_object(Bucket=bucket, Key=key)["ContentType"] == "binary/octet-stream"


def test_headers_of_the_request_say_nothing_of_the_object(poster, s3, bucket, key):
    poster.post([("key", key)], headers={"x-amz-meta-evil": "x", "cache-control": "public"}).expect(204)
    head = s3.head_object(Bucket=bucket, Key=key)
    assert head["Metadata"] == {} and "CacheControl" not in head


def test_fields_behind_the_file_are_ignored(poster, s3, bucket, key):
    poster.post([("key", key)], after=[("x-amz-meta-late", "x"), ("key", "other")]).expect(204)
    assert s3.head_object(Bucket=bucket, Key=key)["Metadata"] == {}


CONDITIONS = {
    "an_equal_value": ([{"key": "KEY"}], True),
    "another_value": ([{"key": "other"}], False),
    "eq": ([["eq", "$key", "KEY"]], True),
    "eq_another": ([["eq", "$key", "other"]], False),
    "starts_with": ([["starts-with", "$key", "test_"]], True),
    "starts_with_anything": ([["starts-with", "$key", ""]], True),
    "starts_with_another": ([["starts-with", "$key", "user/"]], False),
    "the_bucket": ([["starts-with", "$key", ""], {"bucket": "BUCKET"}], True),
    "another_bucket": ([["starts-with", "$key", ""], {"bucket": "other"}], False),
    "a_field_that_is_not_there": ([["starts-with", "$key", ""], {"acl": "private"}], False),
    "none_for_a_field": ([], False),
    "a_range_that_holds": ([["starts-with", "$key", ""], ["content-length-range", 1, 1000]], True),
}


@pytest.mark.parametrize("case", CONDITIONS)
def test_a_policy_with(poster, wire, bucket, key, case):
    conditions, allowed = CONDITIONS[case]
    filled = json.loads(json.dumps(conditions).replace("KEY", key).replace("BUCKET", bucket))
    reply = poster.post([("key", key)], filled)
    if allowed:
        reply.expect(204)
    else:
        reply.expect(403, "AccessDenied")
        assert reply.xml.findtext("Message").startswith("Invalid according to Policy: ")
        wire.call("HEAD", f"/{bucket}/{key}").expect(404)


def test_a_field_that_no_condition_names_is_denied(poster, key, absent):
    reply = poster.post([("key", key), ("x-amz-meta-a", "b")], [{"key": key}]).expect(403, "AccessDenied")
    assert "Extra input fields: x-amz-meta-a" in reply.xml.findtext("Message")


def test_fields_that_begin_with_x_ignore_need_no_condition(poster, key):
    poster.post([("key", key), ("x-ignore-me", "b")], [{"key": key}]).expect(204)


def test_a_file_above_the_range_is_entity_too_large(poster, key, absent):
    poster.post([("key", key)], [{"key": key}, ["content-length-range", 0, 10]]).expect(400, "EntityTooLarge")


def test_a_file_below_the_range_is_entity_too_small(poster, key, absent):
    poster.post([("key", key)], [{"key": key}, ["content-length-range", 1000, 2000]]).expect(400, "EntityTooSmall")


@pytest.mark.parametrize("least,most", [(len(BODY), len(BODY)), (0, len(BODY)), (len(BODY), 1 << 40)])
def test_a_file_at_the_edge_of_the_range_is_taken(poster, key, least, most):
    poster.post([("key", key)], [{"key": key}, ["content-length-range", least, most]]).expect(204)


def test_a_policy_that_has_expired_is_denied(poster, key, absent):
    reply = poster.post([("key", key)], expires=-1).expect(403, "AccessDenied")
    assert "Policy expired" in reply.xml.findtext("Message")


@pytest.mark.parametrize("policy", [b"", b"x", b"{}", b"[]", b'{"expiration":"x","conditions":[]}', b'{"conditions":[]}'])
def test_a_policy_that_is_none_is_an_invalid_policy_document(poster, key, absent, policy):
    reply = poster.post([("key", key)], policy=policy)
    assert reply.status in (400, 403) and reply.code in ("InvalidPolicyDocument", "InvalidArgument"), reply


def test_a_wrong_signature_does_not_match(poster, key, absent):
    fields = poster.signed([("key", key)], [{"key": key}])
    poster.send([*fields[:-1], ("x-amz-signature", "0" * 64)]).expect(403, "SignatureDoesNotMatch")


def test_a_policy_changed_after_it_was_signed_does_not_match(poster, key, absent):
    fields = dict(poster.signed([("key", key)], [{"key": "other"}]))
    fields["policy"] = dict(poster.signed([("key", key)], [{"key": key}]))["policy"]
    poster.send(list(fields.items())).expect(403, "SignatureDoesNotMatch")


def test_a_wrong_secret_does_not_match(poster, wire, key, absent):
    poster.post([("key", key)], keys=sigv4.Keys(wire.keys.access, "x" * 40, wire.keys.region)).expect(403, "SignatureDoesNotMatch")


def test_an_unknown_key_is_invalid_access_key_id(poster, wire, key, absent):
    keys = sigv4.Keys("AKIA" + "X" * 16, wire.keys.secret, wire.keys.region)
    poster.post([("key", key)], keys=keys).expect(403, "InvalidAccessKeyId")


@pytest.mark.parametrize("name", ["policy", "x-amz-signature", "x-amz-credential", "x-amz-date", "x-amz-algorithm"])
def test_a_missing_field_of_the_signature_is_refused(poster, key, absent, name):
    fields = [field for field in poster.signed([("key", key)], [{"key": key}]) if field[0] != name]
    assert poster.send(fields).status in (400, 403)


def test_a_field_given_twice_is_refused(poster, key, absent):
    fields = poster.signed([("key", key)], [{"key": key}])
    assert poster.send([*fields, ("key", "other")]).status in (400, 403)


def test_without_a_key_is_an_invalid_argument(poster):
    poster.post([]).expect(400, "InvalidArgument")


def test_without_a_file_is_an_invalid_argument(poster, key, absent):
    poster.post([("key", key)], file=None).expect(400, "InvalidArgument")


def test_a_form_without_a_policy_is_anonymous(poster, key, absent):
    poster.send([("key", key)]).expect(403, "AccessDenied")


def test_an_anonymous_form_may_what_the_bucket_policy_lets_everybody(wire, s3, fresh):
    s3.delete_public_access_block(Bucket=fresh)
    s3.put_bucket_policy(Bucket=fresh, Policy=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{fresh}/in/*"}]}))
    Poster(wire, fresh).send([("key", "in/k")]).expect(204)
    Poster(wire, fresh).send([("key", "out/k")]).expect(403, "AccessDenied")
    Poster(wire, fresh).send([("key", "in/${filename}")], filename="../out").expect(204)
    assert [found["Key"] for found in s3.list_objects_v2(Bucket=fresh)["Contents"]] == ["in/k", "in/out"]


def test_fields_above_20_kibibytes_are_refused(poster, key, absent):
    fields = [("key", key), ("x-ignore-long", "x" * 21000)]
    poster.post(fields, [{"key": key}]).expect(400, "MaxPostPreDataLengthExceeded")


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=other"])
def test_a_body_that_is_no_form_is_a_malformed_post_request(poster, key, absent, content_type):
    reply = poster.post([("key", key)], headers={"content-type": content_type})
    assert reply.status == 400 and reply.code in ("MalformedPOSTRequest", "InvalidArgument"), reply


def test_a_form_that_ends_inside_its_file_stores_nothing(poster, wire, bucket, key, absent):
    body = encode(poster.signed([("key", key)], [{"key": key}]))
    reply = wire.anonymous("POST", f"/{bucket}", headers={"content-type": "multipart/form-data; boundary=xYzZY"}, body=body[:-15])
    assert reply.status == 400, reply


def test_a_checksum_field_is_verified(poster, s3, bucket, key):
    poster.post([("key", key), ("x-amz-checksum-sha256", sums.of("SHA256", BODY))]).expect(204)
    poster.post([("key", key + "x"), ("x-amz-checksum-sha256", sums.of("SHA256", b"other"))]).expect(400, "BadDigest")
    with fails("404", 404):
        s3.head_object(Bucket=bucket, Key=key + "x")


def test_tags_are_stored(poster, s3, bucket, key):
    document = "<Tagging><TagSet><Tag><Key>a b</Key><Value>c</Value></Tag></TagSet></Tagging>"
    poster.post([("key", key), ("tagging", document)]).expect(204)
    assert s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"] == [{"Key": "a b", "Value": "c"}]


def test_an_acl_is_not_supported_where_they_are_disabled(poster, key, absent):
    poster.post([("key", key), ("acl", "public-read")]).expect(400, "AccessControlListNotSupported")


def test_a_bucket_that_does_not_exist_is_no_such_bucket(poster, key):
    poster.post([("key", key)], path=f"/{new_bucket_name()}").expect(404, "NoSuchBucket")
