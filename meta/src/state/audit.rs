//! How far the daemons' audit logs are, so that lines cut off at the end of one show.

use super::txn::{Txn, load};
use super::{Outcome, keys};
use crate::error::{ErrorKind, Refusal};
use crate::limits::{MAX_AUDIT_LOGS, MAX_LABEL_BYTES};
use crate::record::AuditHead;
use crate::state::pool;

pub fn note(txn: &mut Txn<'_>, head: &AuditHead) -> Outcome<()> {
    let is_name = !head.log.is_empty() && head.log.len() <= MAX_LABEL_BYTES;
    let is_hash = head.hash.len() == 64 && head.hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_name || !is_hash {
        return Err(Refusal::invalid("an audit log has a name, and a line of it a hash").into());
    }
    let key = keys::audit_head(&head.log);
    match load::<AuditHead>(txn, &key)? {
        Some(known) if (known.seq, &known.hash) == (head.seq, &head.hash) => return Ok(()),
        Some(known) if known.seq >= head.seq => {
            let message = format!(
                "the audit log '{}' had {} lines; one that has {} is another, or was cut",
                head.log, known.seq, head.seq
            );
            return Err(Refusal { kind: ErrorKind::PreconditionFailed, message }.into());
        }
        Some(_) => {}
        None => {
            let known: Vec<AuditHead> = pool::all(txn, keys::audit_heads())?;
            if known.len() >= MAX_AUDIT_LOGS {
                return Err(
                    Refusal::invalid(format!("a pool has {MAX_AUDIT_LOGS} audit logs at most")).into()
                );
            }
        }
    }
    Ok(txn.put(key, head)?)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fixture;
    use super::*;
    use crate::command::Command;
    use crate::query::{Answer, Query};

    fn head(log: &str, seq: u64, digit: char) -> AuditHead {
        AuditHead { log: log.into(), seq, hash: digit.to_string().repeat(64) }
    }

    #[test]
    fn a_log_only_grows() {
        let f = Fixture::new();
        let note = |head: AuditHead| f.run(Command::NoteAudit(head));
        note(head("a", 5, '1')).unwrap();
        note(head("b", 1, '2')).unwrap();
        note(head("a", 5, '1')).unwrap();
        for (seq, digit) in [(5, '2'), (4, '1'), (0, '0')] {
            assert_eq!(note(head("a", seq, digit)).unwrap_err().kind, ErrorKind::PreconditionFailed);
        }
        note(head("a", 6, '3')).unwrap();
        let Answer::AuditHeads(heads) = f.ask(Query::AuditHeads).unwrap() else { panic!() };
        assert_eq!(heads, [head("a", 6, '3'), head("b", 1, '2')]);
        for bad in [head("", 1, '1'), head(&"x".repeat(129), 1, '1'), head("c", 1, 'x')] {
            assert_eq!(note(bad).unwrap_err().kind, ErrorKind::Invalid);
        }
    }

    #[test]
    fn golden_bytes_never_change() {
        let bytes = hex::encode(postcard::to_stdvec(&head("a", 300, 'f')).unwrap());
        assert_eq!(bytes, format!("0161ac0240{}", "66".repeat(64)));
        assert_eq!(hex::encode(keys::audit_head("a")), "00001e61");
    }
}
