//! Settings of buckets: kept as the gateways wrote them, one record a bucket and kind. What they mean is decided
//! elsewhere, at every request that they concern, so that a change holds at every gateway once it is made.

use super::kv::Read;
use super::objects::bucket;
use super::txn::{Txn, load};
use super::{Outcome, events, keys};
use crate::error::{Entity, Refusal};
use crate::limits::MAX_SETTING_BYTES;
use crate::object::BucketRecord;
use crate::setting::{BucketSetting, SettingKind};

pub fn read(view: &dyn Read, name: &str, kind: SettingKind) -> Outcome<BucketSetting> {
    let bucket = bucket(view, name)?;
    let text = load(view, &keys::setting(bucket.id, kind))?;
    Ok(BucketSetting { bucket, text })
}

/// Puts a setting in the place of any that is there, or takes it away.
pub fn put(
    txn: &mut Txn<'_>,
    (name, id): (&str, u64),
    kind: SettingKind,
    text: Option<String>,
) -> Outcome<()> {
    if bucket(txn, name)?.id != id {
        let message = "the bucket that was meant is gone, and another has its name";
        return Err(Refusal::not_found(Entity::Bucket, message).into());
    }
    if kind == SettingKind::Notification {
        return Err(Refusal::invalid("a notification configuration is put with its routes").into());
    }
    let key = keys::setting(id, kind);
    match text {
        Some(text) if text.is_empty() || text.len() > MAX_SETTING_BYTES => {
            Err(Refusal::invalid(format!("a bucket's setting is 1 to {MAX_SETTING_BYTES} bytes")).into())
        }
        Some(text) => Ok(txn.put(key, &text)?),
        None => delete(txn, key),
    }
}

/// Takes all of a bucket's settings away with it.
pub fn delete_all(txn: &mut Txn<'_>, bucket: &BucketRecord) -> Outcome<()> {
    events::forget(txn, bucket.id)?;
    SettingKind::ALL.into_iter().try_for_each(|kind| delete(txn, keys::setting(bucket.id, kind)))
}

fn delete(txn: &mut Txn<'_>, key: Vec<u8>) -> Outcome<()> {
    if txn.get(&key)?.is_some() {
        txn.delete(key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fixture;
    use super::*;
    use crate::command::Command;
    use crate::error::ErrorKind;
    use crate::query::{Answer, Query};

    fn setting(f: &Fixture, kind: SettingKind) -> (u64, Option<String>) {
        let query = Query::BucketSetting { bucket: "bucket".into(), kind };
        let Answer::BucketSetting(found) = f.ask(query).unwrap() else { panic!() };
        (found.bucket.id, found.text)
    }

    fn put(id: u64, kind: SettingKind, text: Option<&str>) -> Command {
        Command::PutBucketSetting { bucket: "bucket".into(), id, kind, text: text.map(str::to_owned) }
    }

    #[test]
    fn each_kind_is_put_replaced_and_taken_away_by_itself() {
        let f = Fixture::new();
        let (id, none) = setting(&f, SettingKind::Cors);
        assert_eq!(none, None, "as buckets of earlier builds are");
        f.run(put(id, SettingKind::Cors, Some("a"))).unwrap();
        f.run(put(id, SettingKind::Cors, Some("b"))).unwrap();
        f.run(put(id, SettingKind::Tagging, Some("c"))).unwrap();
        assert_eq!(setting(&f, SettingKind::Cors).1.as_deref(), Some("b"));
        for _ in 0..2 {
            f.run(put(id, SettingKind::Cors, None)).unwrap();
        }
        assert_eq!(setting(&f, SettingKind::Cors).1, None);
        assert_eq!(setting(&f, SettingKind::Tagging).1.as_deref(), Some("c"));
        for text in [String::new(), "x".repeat(MAX_SETTING_BYTES + 1)] {
            let refused = f.run(put(id, SettingKind::Cors, Some(&text))).unwrap_err();
            assert_eq!(refused.kind, ErrorKind::Invalid);
        }
        f.run(put(id, SettingKind::Cors, Some(&"x".repeat(MAX_SETTING_BYTES)))).unwrap();
    }

    #[test]
    fn a_bucket_made_anew_has_nothing_of_the_former_one() {
        let f = Fixture::new();
        let (id, _) = setting(&f, SettingKind::Cors);
        for kind in SettingKind::ALL.into_iter().filter(|kind| *kind != SettingKind::Notification) {
            f.run(put(id, kind, Some("a"))).unwrap();
        }
        f.run(Command::DeleteBucket { name: "bucket".into() }).unwrap();
        for kind in SettingKind::ALL {
            assert_eq!(f.kv.get(&keys::setting(id, kind)).unwrap(), None);
        }
        let create = Command::CreateBucket { name: "bucket".into(), owner: "other".into(), now_ms: 2 };
        f.run(create).unwrap();
        let late = f.run(put(id, SettingKind::Cors, Some("late"))).unwrap_err();
        assert_eq!(late.kind, ErrorKind::NotFound(Entity::Bucket));
        assert_eq!(setting(&f, SettingKind::Cors).1, None);
    }

    #[test]
    fn golden_bytes_never_change() {
        let bytes = |command: &Command| hex::encode(postcard::to_stdvec(command).unwrap());
        let command = bytes(&put(5, SettingKind::Tagging, Some("x")));
        assert_eq!(command[2..], *"066275636b65740501010178");
        assert_eq!(bytes(&put(5, SettingKind::Cors, None))[2..], *"066275636b6574050000");
        assert_eq!(hex::encode(keys::setting(5, SettingKind::Cors)), "000019000000000000000500");
        assert_eq!(hex::encode(keys::setting(5, SettingKind::Tagging)), "000019000000000000000501");
        assert_eq!(hex::encode(keys::setting(5, SettingKind::Lifecycle)), "000019000000000000000502");
        assert_eq!(hex::encode(keys::setting(5, SettingKind::Website)), "000019000000000000000503");
        assert_eq!(hex::encode(keys::setting(5, SettingKind::Notification)), "000019000000000000000504");
        assert_eq!(hex::encode(keys::setting(5, SettingKind::Logging)), "000019000000000000000505");
        assert_eq!(hex::encode(keys::setting(5, SettingKind::Encryption)), "000019000000000000000506");
    }
}
