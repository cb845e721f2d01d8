//! When access keys were last used. Gateways tell many at a time, seldom; what is known goes with its key.

use super::kv::Read;
use super::txn::{Txn, load};
use super::{Outcome, keys, names};
use crate::error::Refusal;
use crate::key_use::KeyUse;
use crate::limits::MAX_KEY_USES;

/// Notes uses, each unless a later one is known, or its key has gone since.
pub fn note(txn: &mut Txn<'_>, uses: &[KeyUse]) -> Outcome<()> {
    if uses.len() > MAX_KEY_USES {
        return Err(Refusal::invalid(format!("at most {MAX_KEY_USES} uses are told at once")).into());
    }
    for told in uses {
        names::label("an access key's id", &told.key)?;
        names::label("a service", &told.service)?;
        names::label("a region", &told.region)?;
        let there = [keys::identity_key(&told.key), keys::access_key(&told.key)];
        let is_there = txn.get(&there[0])?.is_some() || txn.get(&there[1])?.is_some();
        let newer = last(txn, &told.key)?.is_none_or(|known| known.used_ms < told.used_ms);
        if is_there && newer {
            txn.put(keys::key_use(&told.key), told)?;
        }
    }
    Ok(())
}

/// The last use of a key that is known.
pub fn last(view: &dyn Read, key: &str) -> Outcome<Option<KeyUse>> {
    Ok(load(view, &keys::key_use(key))?)
}

/// The same of each of these keys, of those of which it is known.
pub fn of(view: &dyn Read, keys: &[String]) -> Outcome<Vec<KeyUse>> {
    let mut found = Vec::new();
    for key in keys.iter().take(MAX_KEY_USES) {
        found.extend(last(view, key)?);
    }
    Ok(found)
}

/// Forgets those of a key that goes.
pub fn forget(txn: &mut Txn<'_>, key: &str) {
    txn.delete(keys::key_use(key));
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fixture;
    use super::*;
    use crate::command::Command;
    use crate::error::ErrorKind;
    use crate::identity_command::{IdentityAnswer, IdentityCommand, IdentityQuery};
    use crate::query::{Answer, Query};
    use crate::record::{AccessKey, Secret};

    fn used(key: &str, used_ms: u64) -> KeyUse {
        KeyUse { key: key.into(), used_ms, service: "s3".into(), region: "here".into() }
    }

    #[test]
    fn the_latest_use_of_a_key_is_known_as_long_as_the_key() {
        let w = Fixture::new();
        let note = |uses: &[KeyUse]| {
            let command = Command::Identity(IdentityCommand::NoteKeyUses(uses.to_vec()));
            w.run(command).map(|_| ()).map_err(|refusal| refusal.kind)
        };
        let known = || {
            let keys = vec!["AKIA".into(), "NONE".into()];
            match w.ask(Query::Identity(IdentityQuery::KeyUses { keys })).unwrap() {
                Answer::Identity(IdentityAnswer::KeyUses(found)) => found,
                _ => panic!(),
            }
        };
        note(&[used("AKIA", 5)]).unwrap();
        assert_eq!(known(), [], "a key that is not there");
        let key = AccessKey {
            id: "AKIA".into(),
            secret: Secret("s".into()),
            owner: "root".into(),
            enabled: true,
            created_ms: 1,
        };
        w.run(Command::PutAccessKey(key.clone())).unwrap();
        note(&[used("NONE", 9), used("AKIA", 5)]).unwrap();
        assert_eq!(known(), [used("AKIA", 5)]);
        note(&[used("AKIA", 7), used("AKIA", 6)]).unwrap();
        assert_eq!(known(), [used("AKIA", 7)]);
        let many: Vec<KeyUse> = (0..=MAX_KEY_USES as u64).map(|at| used("AKIA", at)).collect();
        assert_eq!(note(&many), Err(ErrorKind::Invalid));
        assert_eq!(note(&[used("", 8)]), Err(ErrorKind::Invalid));
        w.run(Command::DeleteAccessKey { id: "AKIA".into() }).unwrap();
        w.run(Command::PutAccessKey(key)).unwrap();
        assert_eq!(known(), []);
    }
}
