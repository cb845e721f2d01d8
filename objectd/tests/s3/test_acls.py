"""PutBucketAcl, GetBucketAcl, PutObjectAcl, GetObjectAcl and what objects are put with, where ACLs are enabled and where not."""

import pytest

from conftest import fails, make_bucket, new_bucket_name

ALL = "http://acs.amazonaws.com/groups/global/AllUsers"
SIGNED = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOGS = "http://acs.amazonaws.com/groups/s3/LogDelivery"
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


@pytest.fixture
def enabled(s3, buckets):
    """A bucket with ACLs, whose public access block is as all have it, and an object."""
    name = buckets(create=False)
    make_bucket(s3, name, ObjectOwnership="ObjectWriter")
    s3.put_object(Bucket=name, Key="k", Body=b"data")
    return name


@pytest.fixture
def lifted(s3, enabled):
    """The same, with the block lifted."""
    s3.delete_public_access_block(Bucket=enabled)
    return enabled


@pytest.fixture
def me(s3):
    return s3.list_buckets()["Owner"]["ID"]


def told(answer):
    """The grants of an answer, each as (grantee, permission)."""
    return [(grant["Grantee"].get("ID") or grant["Grantee"]["URI"], grant["Permission"]) for grant in answer["Grants"]]


def policy(owner, *grants):
    return {
        "Owner": {"ID": owner},
        "Grants": [
            {"Grantee": {"Type": "Group", "URI": to} if "://" in to else {"Type": "CanonicalUser", "ID": to},
             "Permission": permission}
            for to, permission in grants
        ],
    }


def document(owner, grants=""):
    text = f"<AccessControlPolicy>{owner}<AccessControlList>{grants}</AccessControlList></AccessControlPolicy>"
    return text.encode()


# Where ACLs are disabled.


@pytest.mark.parametrize("acl", ["private", "public-read", "public-read-write", "authenticated-read"])
def test_a_bucket_acl_can_not_be_set_where_acls_are_disabled(s3, fresh, acl):
    with fails("AccessControlListNotSupported", 400):
        s3.put_bucket_acl(Bucket=fresh, ACL=acl)


@pytest.mark.parametrize("acl", ["private", "public-read", "bucket-owner-read"])
def test_an_object_acl_can_not_be_set_where_acls_are_disabled(s3, fresh, acl):
    s3.put_object(Bucket=fresh, Key="k", Body=b"")
    with fails("AccessControlListNotSupported", 400):
        s3.put_object_acl(Bucket=fresh, Key="k", ACL=acl)


def test_a_grant_can_not_be_set_where_acls_are_disabled(s3, fresh):
    with fails("AccessControlListNotSupported", 400):
        s3.put_bucket_acl(Bucket=fresh, GrantRead=f"uri={ALL}")


def test_requests_to_read_acls_are_supported_where_acls_are_disabled(s3, fresh, me):
    s3.put_object(Bucket=fresh, Key="k", Body=b"")
    for answer in (s3.get_bucket_acl(Bucket=fresh), s3.get_object_acl(Bucket=fresh, Key="k")):
        assert (answer["Owner"]["ID"], told(answer)) == (me, [(me, "FULL_CONTROL")])


def test_the_acl_of_a_bucket_that_does_not_exist_is_no_such_bucket(s3):
    with fails("NoSuchBucket", 404):
        s3.put_bucket_acl(Bucket=new_bucket_name(), ACL="private")


def test_anonymous_requests_can_not_set_an_acl(wire, s3, enabled):
    for path in (f"/{enabled}", f"/{enabled}/k"):
        wire.anonymous("PUT", path, {"acl": ""}, {"x-amz-acl": "public-read"}).expect(403, "AccessDenied")


# Canned ACLs.


@pytest.mark.parametrize("acl,more", [
    ("private", []),
    ("public-read", [(ALL, "READ")]),
    ("public-read-write", [(ALL, "READ"), (ALL, "WRITE")]),
    ("authenticated-read", [(SIGNED, "READ")]),
    ("log-delivery-write", [(LOGS, "WRITE"), (LOGS, "READ_ACP")]),
])
def test_a_canned_acl_of_a_bucket_is(s3, lifted, me, acl, more):
    s3.put_bucket_acl(Bucket=lifted, ACL=acl)
    answer = s3.get_bucket_acl(Bucket=lifted)
    assert answer["Owner"]["ID"] == me
    assert sorted(told(answer)) == sorted([(me, "FULL_CONTROL"), *more])


OF_OBJECTS = {
    "private": [], "public-read": [(ALL, "READ")], "public-read-write": [(ALL, "READ"), (ALL, "WRITE")],
    "authenticated-read": [(SIGNED, "READ")], "bucket-owner-full-control": [],
}


@pytest.mark.parametrize("acl", OF_OBJECTS)
def test_a_canned_acl_of_an_object_is(s3, lifted, me, acl):
    s3.put_object_acl(Bucket=lifted, Key="k", ACL=acl)
    assert sorted(told(s3.get_object_acl(Bucket=lifted, Key="k"))) == sorted([(me, "FULL_CONTROL"), *OF_OBJECTS[acl]])
    s3.put_object(Bucket=lifted, Key="new", Body=b"", ACL=acl)
    assert sorted(told(s3.get_object_acl(Bucket=lifted, Key="new"))) == sorted([(me, "FULL_CONTROL"), *OF_OBJECTS[acl]])


@pytest.mark.parametrize("acl", ["public", "Private", ""])
def test_an_unknown_canned_acl_is_an_invalid_argument(wire, enabled, acl):
    for path in (f"/{enabled}", f"/{enabled}/k"):
        wire.call("PUT", path, {"acl": ""}, {"x-amz-acl": acl}).expect(400)


# Grants.


def test_grants_of_headers_replace_all_that_there_were(s3, lifted, me):
    s3.put_bucket_acl(Bucket=lifted, ACL="public-read")
    s3.put_bucket_acl(Bucket=lifted, GrantFullControl=f'id="{me}"', GrantReadACP=f'uri="{SIGNED}",uri="{LOGS}"')
    expected = [(me, "FULL_CONTROL"), (SIGNED, "READ_ACP"), (LOGS, "READ_ACP")]
    assert sorted(told(s3.get_bucket_acl(Bucket=lifted))) == sorted(expected)


def test_grants_of_a_new_object(s3, lifted, me):
    s3.put_object(Bucket=lifted, Key="new", Body=b"", GrantRead=f'uri="{ALL}"', GrantWriteACP=f'id="{me}"')
    assert sorted(told(s3.get_object_acl(Bucket=lifted, Key="new"))) == sorted([(ALL, "READ"), (me, "WRITE_ACP")])


def test_a_document_is_given_back_as_it_was_put(s3, lifted, me):
    grants = [(me, "FULL_CONTROL"), (ALL, "READ"), (SIGNED, "WRITE_ACP"), (me, "READ_ACP")]
    s3.put_bucket_acl(Bucket=lifted, AccessControlPolicy=policy(me, *grants))
    assert told(s3.get_bucket_acl(Bucket=lifted)) == grants
    s3.put_object_acl(Bucket=lifted, Key="k", AccessControlPolicy=policy(me, *grants))
    assert told(s3.get_object_acl(Bucket=lifted, Key="k")) == grants


def test_an_acl_without_grants_leaves_the_owner_its_acl(s3, enabled, me):
    s3.put_object_acl(Bucket=enabled, Key="k", AccessControlPolicy=policy(me))
    assert told(s3.get_object_acl(Bucket=enabled, Key="k")) == []
    s3.put_object_acl(Bucket=enabled, Key="k", ACL="private")


def test_a_canned_acl_and_grants_are_an_invalid_request(wire, enabled, me):
    headers = {"x-amz-acl": "private", "x-amz-grant-read": f'id="{me}"'}
    for path, query in ((f"/{enabled}", {"acl": ""}), (f"/{enabled}/k", {"acl": ""}), (f"/{enabled}/k", {})):
        wire.call("PUT", path, query, headers).expect(400, "InvalidRequest")


def test_headers_and_a_document_are_unexpected_content(wire, enabled, me):
    body = document(f"<Owner><ID>{me}</ID></Owner>")
    wire.call("PUT", f"/{enabled}", {"acl": ""}, {"x-amz-acl": "private"}, body).expect(400, "UnexpectedContent")


def test_neither_is_a_missing_security_header(wire, enabled):
    for path in (f"/{enabled}", f"/{enabled}/k"):
        wire.call("PUT", path, {"acl": ""}).expect(400, "MissingSecurityHeader")


@pytest.mark.parametrize("value", ["x", "id=", 'id="a', "name=a", "id=a id=b", ","])
def test_a_grant_that_is_none_is_an_invalid_argument(wire, enabled, value):
    wire.call("PUT", f"/{enabled}", {"acl": ""}, {"x-amz-grant-read": value}).expect(400, "InvalidArgument")


def test_a_grant_to_an_account_that_does_not_exist_is_an_invalid_argument(s3, enabled, me):
    nobody = "f" * 64
    with fails("InvalidArgument", 400):
        s3.put_bucket_acl(Bucket=enabled, GrantRead=f'id="{nobody}"')
    with fails("InvalidArgument", 400):
        s3.put_object_acl(Bucket=enabled, Key="k", AccessControlPolicy=policy(me, (nobody, "READ")))
    with fails("InvalidArgument", 400):
        s3.put_object(Bucket=enabled, Key="k", Body=b"", GrantRead=f'id="{nobody}"')


def test_a_grant_to_a_group_that_does_not_exist_is_an_invalid_argument(s3, enabled, me):
    nobody = "http://acs.amazonaws.com/groups/global/Friends"
    with fails("InvalidArgument", 400):
        s3.put_bucket_acl(Bucket=enabled, GrantRead=f'uri="{nobody}"')
    with fails("InvalidArgument", 400):
        s3.put_bucket_acl(Bucket=enabled, AccessControlPolicy=policy(me, (nobody, "READ")))


def test_grants_to_email_addresses_are_not_allowed(s3, enabled):
    with fails("MethodNotAllowed", 405):
        s3.put_bucket_acl(Bucket=enabled, GrantRead='emailAddress="somebody@example.com"')


@pytest.mark.parametrize("owner,grants", [
    ("", ""),
    ("<Owner/>", ""),
    ("<Owner><ID>{me}</ID></Owner>", "<Grant/>"),
    ("<Owner><ID>{me}</ID></Owner>", "<Other/>"),
    ("<Owner><ID>{me}</ID></Owner>",
     '<Grant><Grantee {XSI} xsi:type="CanonicalUser"><ID>{me}</ID></Grantee><Permission>DELETE</Permission></Grant>'),
    ("<Owner><ID>{me}</ID></Owner>",
     "<Grant><Grantee><ID>{me}</ID></Grantee><Permission>READ</Permission></Grant>"),
    ("<Owner><ID>{me}</ID></Owner>",
     '<Grant><Grantee {XSI} xsi:type="Group"><ID>{me}</ID></Grantee><Permission>READ</Permission></Grant>'),
])
def test_a_document_that_is_none_is_a_malformed_acl(wire, enabled, me, owner, grants):
    body = document(owner.format(me=me), grants.format(me=me, XSI=XSI))
    for path in (f"/{enabled}", f"/{enabled}/k"):
        wire.call("PUT", path, {"acl": ""}, body=body).expect(400, "MalformedACLError")


def test_more_than_100_grants_are_refused(s3, enabled, me):
    s3.put_bucket_acl(Bucket=enabled, AccessControlPolicy=policy(me, *[(me, "READ")] * 100))
    with pytest.raises(s3.exceptions.ClientError) as raised:
        s3.put_bucket_acl(Bucket=enabled, AccessControlPolicy=policy(me, *[(me, "READ")] * 101))
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_another_owner_can_not_be_named(s3, enabled):
    with fails("AccessDenied", 403):
        s3.put_object_acl(Bucket=enabled, Key="k", AccessControlPolicy=policy("f" * 64))


# What they give.


def test_public_read_of_an_object_lets_everybody_read_that_object(wire, s3, lifted):
    s3.put_object(Bucket=lifted, Key="other", Body=b"")
    wire.anonymous("GET", f"/{lifted}/k").expect(403, "AccessDenied")
    s3.put_object_acl(Bucket=lifted, Key="k", ACL="public-read")
    assert wire.anonymous("GET", f"/{lifted}/k").expect(200).body == b"data"
    wire.anonymous("HEAD", f"/{lifted}/k").expect(200)
    wire.anonymous("GET", f"/{lifted}/other").expect(403, "AccessDenied")
    wire.anonymous("GET", f"/{lifted}/k", {"acl": ""}).expect(403, "AccessDenied")
    wire.anonymous("PUT", f"/{lifted}/k", body=b"x").expect(403, "AccessDenied")
    wire.anonymous("DELETE", f"/{lifted}/k").expect(403, "AccessDenied")
    s3.put_object_acl(Bucket=lifted, Key="k", ACL="private")
    wire.anonymous("GET", f"/{lifted}/k").expect(403, "AccessDenied")


def test_public_read_of_a_bucket_lets_everybody_list_it_and_read_nothing(wire, s3, lifted):
    wire.anonymous("GET", f"/{lifted}").expect(403, "AccessDenied")
    s3.put_bucket_acl(Bucket=lifted, ACL="public-read")
    assert wire.anonymous("GET", f"/{lifted}").expect(200).xml.findtext("Contents/Key") == "k"
    for query in ({"versions": ""}, {"uploads": ""}, {"list-type": "2"}):
        wire.anonymous("GET", f"/{lifted}", query).expect(200)
    wire.anonymous("GET", f"/{lifted}/k").expect(403, "AccessDenied")
    wire.anonymous("GET", f"/{lifted}/none").expect(404, "NoSuchKey")
    wire.anonymous("PUT", f"/{lifted}/new", body=b"x").expect(403, "AccessDenied")
    for name in ("acl", "policy", "ownershipControls", "versioning"):
        wire.anonymous("GET", f"/{lifted}", {name: ""}).expect(403, "AccessDenied")


def test_public_read_write_of_a_bucket_lets_everybody_put_and_delete_nothing(wire, s3, lifted):
    wire.anonymous("PUT", f"/{lifted}/new", body=b"x").expect(403, "AccessDenied")
    s3.put_bucket_acl(Bucket=lifted, ACL="public-read-write")
    wire.anonymous("PUT", f"/{lifted}/new", body=b"x").expect(200)
    wire.anonymous("DELETE", f"/{lifted}/k").expect(403, "AccessDenied")


def test_authenticated_read_lets_nobody_in_who_does_not_sign(wire, s3, lifted):
    s3.put_object_acl(Bucket=lifted, Key="k", ACL="authenticated-read")
    wire.anonymous("GET", f"/{lifted}/k").expect(403, "AccessDenied")


def test_a_deny_of_the_bucket_policy_wins_over_an_acl(wire, s3, lifted):
    s3.put_object_acl(Bucket=lifted, Key="k", ACL="public-read")
    wire.anonymous("GET", f"/{lifted}/k").expect(200)
    s3.put_bucket_policy(Bucket=lifted, Policy=f'''{{"Version": "2012-10-17", "Statement": [{{"Effect": "Deny",
        "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::{lifted}/*"}}]}}''')
    wire.anonymous("GET", f"/{lifted}/k").expect(403, "AccessDenied")


def test_an_acl_is_of_one_version(wire, s3, lifted):
    s3.put_bucket_versioning(Bucket=lifted, VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket=lifted, Key="v", Body=b"old", ACL="public-read")["VersionId"]
    new = s3.put_object(Bucket=lifted, Key="v", Body=b"new")["VersionId"]
    wire.anonymous("GET", f"/{lifted}/v").expect(403, "AccessDenied")
    wire.anonymous("GET", f"/{lifted}/v", {"versionId": new}).expect(403, "AccessDenied")
    assert wire.anonymous("GET", f"/{lifted}/v", {"versionId": old}).expect(200).body == b"old"
    s3.put_object_acl(Bucket=lifted, Key="v", VersionId=old, ACL="private")
    wire.anonymous("GET", f"/{lifted}/v", {"versionId": old}).expect(403, "AccessDenied")
    s3.put_object_acl(Bucket=lifted, Key="v", ACL="public-read")
    assert wire.anonymous("GET", f"/{lifted}/v").expect(200).body == b"new"


def test_a_copy_does_not_take_the_acl_with_it(s3, lifted, me):
    s3.put_object_acl(Bucket=lifted, Key="k", ACL="public-read")
    source = {"Bucket": lifted, "Key": "k"}
    s3.copy_object(Bucket=lifted, Key="copy", CopySource=source)
    assert told(s3.get_object_acl(Bucket=lifted, Key="copy")) == [(me, "FULL_CONTROL")]
    s3.copy_object(Bucket=lifted, Key="copy", CopySource=source, ACL="authenticated-read")
    assert (SIGNED, "READ") in told(s3.get_object_acl(Bucket=lifted, Key="copy"))


def test_an_upload_in_parts_has_the_acl_that_it_began_with(wire, s3, lifted):
    upload = s3.create_multipart_upload(Bucket=lifted, Key="parts", ACL="public-read")["UploadId"]
    part = s3.upload_part(Bucket=lifted, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=lifted, Key="parts", UploadId=upload, MultipartUpload=parts)
    wire.anonymous("GET", f"/{lifted}/parts").expect(200)


def test_an_object_that_is_put_again_has_the_acl_of_that_put(wire, s3, lifted):
    s3.put_object(Bucket=lifted, Key="k", Body=b"", ACL="public-read")
    wire.anonymous("GET", f"/{lifted}/k").expect(200)
    s3.put_object(Bucket=lifted, Key="k", Body=b"")
    wire.anonymous("GET", f"/{lifted}/k").expect(403, "AccessDenied")


def test_tags_and_locks_that_are_put_leave_the_acl(wire, s3, lifted):
    s3.put_object(Bucket=lifted, Key="k", Body=b"", ACL="public-read")
    s3.put_object_tagging(Bucket=lifted, Key="k", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    wire.anonymous("GET", f"/{lifted}/k").expect(200)
    assert (ALL, "READ") in told(s3.get_object_acl(Bucket=lifted, Key="k"))


# Public access blocks.


def block(s3, bucket, **switches):
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=switches)


@pytest.mark.parametrize("acl", ["public-read", "public-read-write", "authenticated-read"])
def test_block_public_acls_refuses_public_acls(s3, enabled, acl):
    with fails("AccessDenied", 403):
        s3.put_bucket_acl(Bucket=enabled, ACL=acl)
    with fails("AccessDenied", 403):
        s3.put_object_acl(Bucket=enabled, Key="k", ACL=acl)
    with fails("AccessDenied", 403):
        s3.put_object(Bucket=enabled, Key="new", Body=b"", ACL=acl)
    with fails("AccessDenied", 403):
        s3.copy_object(Bucket=enabled, Key="new", CopySource={"Bucket": enabled, "Key": "k"}, ACL=acl)
    with fails("AccessDenied", 403):
        s3.create_multipart_upload(Bucket=enabled, Key="new", ACL=acl)
    s3.put_bucket_acl(Bucket=enabled, ACL="log-delivery-write")


def test_block_public_acls_leaves_those_that_are_there(wire, s3, lifted):
    s3.put_object_acl(Bucket=lifted, Key="k", ACL="public-read")
    block(s3, lifted, BlockPublicAcls=True)
    wire.anonymous("GET", f"/{lifted}/k").expect(200)
    with fails("AccessDenied", 403):
        s3.put_object_acl(Bucket=lifted, Key="k", ACL="public-read")


def test_ignore_public_acls_ignores_those_that_are_there_and_takes_new_ones(wire, s3, lifted):
    s3.put_object_acl(Bucket=lifted, Key="k", ACL="public-read")
    s3.put_bucket_acl(Bucket=lifted, ACL="public-read")
    block(s3, lifted, IgnorePublicAcls=True)
    for path in (f"/{lifted}", f"/{lifted}/k"):
        wire.anonymous("GET", path).expect(403, "AccessDenied")
    s3.put_object(Bucket=lifted, Key="new", Body=b"", ACL="public-read")
    wire.anonymous("GET", f"/{lifted}/new").expect(403, "AccessDenied")
    s3.delete_public_access_block(Bucket=lifted)
    wire.anonymous("GET", f"/{lifted}/new").expect(200)


# Two accounts.


def test_an_account_reads_what_it_is_granted(s3, other, enabled):
    theirs, them = other
    with fails("AccessDenied", 403):
        theirs.get_object(Bucket=enabled, Key="k")
    s3.put_object_acl(Bucket=enabled, Key="k", GrantRead=f'id="{them}"')
    assert theirs.get_object(Bucket=enabled, Key="k")["Body"].read() == b"data"
    with fails("AccessDenied", 403):
        theirs.get_object_acl(Bucket=enabled, Key="k")
    with fails("AccessDenied", 403):
        theirs.list_objects_v2(Bucket=enabled)
    s3.put_bucket_acl(Bucket=enabled, GrantRead=f'id="{them}"')
    assert theirs.list_objects_v2(Bucket=enabled)["KeyCount"] == 1


def test_who_writes_an_object_owns_it_under_object_writer(s3, other, enabled, me):
    theirs, them = other
    with fails("AccessDenied", 403):
        theirs.put_object(Bucket=enabled, Key="theirs", Body=b"x")
    s3.put_bucket_acl(Bucket=enabled, GrantWrite=f'id="{them}"')
    theirs.put_object(Bucket=enabled, Key="theirs", Body=b"x")
    assert theirs.get_object_acl(Bucket=enabled, Key="theirs")["Owner"]["ID"] == them
    for read in (s3.get_object, s3.get_object_acl):
        with fails("AccessDenied", 403):
            read(Bucket=enabled, Key="theirs")
    theirs.put_object_acl(Bucket=enabled, Key="theirs", ACL="bucket-owner-full-control")
    answer = s3.get_object_acl(Bucket=enabled, Key="theirs")
    assert answer["Owner"]["ID"] == them
    assert sorted(told(answer)) == sorted([(me, "FULL_CONTROL"), (them, "FULL_CONTROL")])
    assert s3.get_object(Bucket=enabled, Key="theirs")["Body"].read() == b"x"


def test_the_bucket_owner_deletes_what_it_can_not_read(s3, other, enabled):
    theirs, them = other
    s3.put_bucket_acl(Bucket=enabled, GrantWrite=f'id="{them}"')
    theirs.put_object(Bucket=enabled, Key="theirs", Body=b"x")
    with fails("AccessDenied", 403):
        s3.get_object(Bucket=enabled, Key="theirs")
    s3.delete_object(Bucket=enabled, Key="theirs")
    with fails("NoSuchKey", 404):
        s3.get_object(Bucket=enabled, Key="theirs")


def test_bucket_owner_preferred_takes_what_is_given_up(s3, other, enabled, me):
    theirs, them = other
    controls = {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    s3.put_bucket_ownership_controls(Bucket=enabled, OwnershipControls=controls)
    s3.put_bucket_acl(Bucket=enabled, GrantWrite=f'id="{them}"')
    theirs.put_object(Bucket=enabled, Key="kept", Body=b"x")
    with fails("AccessDenied", 403):
        s3.get_object(Bucket=enabled, Key="kept")
    theirs.put_object(Bucket=enabled, Key="given", Body=b"x", ACL="bucket-owner-full-control")
    answer = s3.get_object_acl(Bucket=enabled, Key="given")
    assert (answer["Owner"]["ID"], told(answer)) == (me, [(me, "FULL_CONTROL")])
    with fails("AccessDenied", 403):
        theirs.get_object(Bucket=enabled, Key="given")


def test_a_copy_needs_the_sources_read_and_the_targets_write(s3, other, enabled):
    theirs, them = other
    source = {"Bucket": enabled, "Key": "k"}
    for grants in ({}, {"Bucket": True}, {"Object": True}):
        s3.put_bucket_acl(Bucket=enabled, **({"GrantWrite": f'id="{them}"'} if "Bucket" in grants else {"ACL": "private"}))
        s3.put_object_acl(
            Bucket=enabled, Key="k", **({"GrantRead": f'id="{them}"'} if "Object" in grants else {"ACL": "private"}))
        with fails("AccessDenied", 403):
            theirs.copy_object(Bucket=enabled, Key="copy", CopySource=source)
    s3.put_bucket_acl(Bucket=enabled, GrantWrite=f'id="{them}"')
    theirs.copy_object(Bucket=enabled, Key="copy", CopySource=source)


def test_disabling_acls_makes_all_objects_the_bucket_owners(s3, other, enabled):
    theirs, them = other
    s3.put_bucket_acl(Bucket=enabled, GrantWrite=f'id="{them}"')
    theirs.put_object(Bucket=enabled, Key="theirs", Body=b"x")
    enforced = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    with fails("InvalidBucketAclWithObjectOwnership", 400):
        s3.put_bucket_ownership_controls(Bucket=enabled, OwnershipControls=enforced)
    s3.put_bucket_acl(Bucket=enabled, ACL="private")
    s3.put_bucket_ownership_controls(Bucket=enabled, OwnershipControls=enforced)
    assert s3.get_object(Bucket=enabled, Key="theirs")["Body"].read() == b"x"
    with fails("AccessDenied", 403):
        theirs.get_object(Bucket=enabled, Key="theirs")
