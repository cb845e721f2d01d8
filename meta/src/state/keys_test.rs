use super::*;
use proptest::prelude::*;

#[test]
fn golden_bytes_never_change() {
    let golden = [
        (object(5, "a\0b", PLAIN_SLOT), "0001010000000000000005 6100ff62 0001 ffffffffffffffff"),
        (object(5, "a", 258), "0001010000000000000005 61 0001 0000000000000102"),
        (inline(5, "a", PLAIN_SLOT), "0001020000000000000005 61 0001 ffffffffffffffff"),
        (null(5, "a"), "0001080000000000000005 61 0001"),
        (versioning(5), "000016 0000000000000005"),
        (reference(VolumeId(2), 4096), "000103 0000000000000002 0000000000001000"),
        (garbage(VolumeId(2), 4096), "000104 0000000000000002 0000000000001000"),
        (
            upload(5, "a", UploadId([7; 16])),
            "000105 0000000000000005 61 0001 07070707070707070707070707070707",
        ),
        (part(5, UploadId([7; 16]), 258), "000106 0000000000000005 07070707070707070707070707070707 0102"),
        (usage(5), "000107 0000000000000005"),
        (bucket("b"), "00000a 62"),
        (volume(VolumeId(9)), "000006 0000000000000009"),
        (volume_name("v"), "000007 76"),
        (log(VolumeId(9)), "000008 0000000000000009"),
        (group(GroupId(3)), "000005 00000003"),
        (counter(Counter::Bucket), "000002 02"),
        (counter(Counter::Map), "000002 03"),
        (counter(Counter::Lease), "000002 04"),
        (left(GroupId(3), DiskId([9; 16])), "00000b 00000003 09090909090909090909090909090909"),
        (rebuild(), "00000c"),
        (loss(2), "00000d 0000000000000002"),
        (copied(GroupId(3), DiskId([9; 16])), "00000e 00000003 09090909090909090909090909090909"),
        (slow(DiskId([9; 16])), "00000f 09090909090909090909090909090909"),
        (access(5), "000010 0000000000000005"),
        (account("012345678901"), "000011 303132333435363738393031"),
        (identity(IdentityKind::Role, "012345678901", "r"), "000012 03 303132333435363738393031 00 72"),
        (bound(5), "000015 0000000000000005"),
        (identity_key("AKIA"), "000013 414b4941"),
        (key_use("AKIA"), "00002a 414b4941"),
        (identity_details(IdentityKind::User, "1", "u"), "000028 01 31 00 75"),
        (policy_details("1", "p"), "000029 31 00 70"),
        (managed("012345678901", "p"), "000014 303132333435363738393031 00 70"),
        (lifecycle(), "00001a"),
        (project_usage("012345678901"), "000023 303132333435363738393031"),
        (webhook("w"), "00001f 77"),
        (event(3, 258), "000020 0000000000000003 0000000000000102"),
        (routes(5), "000021 0000000000000005"),
        (webhook_state(3), "000022 0000000000000003"),
        (event_keeper(), "000022"),
        (counter(Counter::Webhook), "000002 06"),
        (counter(Counter::Event), "000002 07"),
        (pool_key(PoolKeyId([9; 8])), "00001b 0909090909090909"),
        (pool(), "000001"),
        (applied(), "ffff"),
    ];
    for (key, expected) in golden {
        assert_eq!(hex::encode(&key), expected.replace(' ', ""));
    }
}

proptest! {
    #[test]
    fn raw_order_is_the_order_of_names(a in "[\\x00\\x01a/é\u{10ffff}]{0,6}", b in "[\\x00\\x01a/é\u{10ffff}]{0,6}") {
        // The oldest version of one name comes before the newest of the next.
        let (oldest, newest) = (|name: &str| object(1, name, PLAIN_SLOT), |name: &str| object(1, name, 0));
        let raw = if a == b { oldest(&a).cmp(&oldest(&b)) } else { oldest(&a).cmp(&newest(&b)) };
        prop_assert_eq!(raw, a.as_bytes().cmp(b.as_bytes()));
        let name = Named::name(&newest(&a));
        prop_assert_eq!(name.as_ref(), Some(&a));
        prop_assert_eq!(slot_of(&object(1, &a, 77)), Some(77));
        prop_assert_eq!(newest(&b).starts_with(&versions(1, &a)), a == b);
        prop_assert_eq!(newest(&b).starts_with(&Named::Objects.prefix(1, &a)), b.starts_with(&a));
        prop_assert!(Named::Objects.past(1, &a) > oldest(&a));
        if b > a {
            prop_assert!(Named::Objects.past(1, &a) < newest(&b));
        }
    }
}
