use super::*;
use crate::state::kv::{Kv, MemKv};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn key(n: u8) -> Vec<u8> {
    // Keys of different lengths, some prefixes of others.
    vec![b'k'; usize::from(n % 3) + 1].into_iter().chain([n / 3]).collect()
}

fn collect(view: &dyn Read, from: &[u8]) -> Vec<Pair> {
    let mut all = Vec::new();
    view.scan(from, &mut |k, v| {
        all.push((k.to_vec(), v.to_vec()));
        Step::Next
    })
    .unwrap();
    all
}

proptest! {
    #[test]
    fn a_transaction_reads_as_if_it_were_applied(
        base in prop::collection::btree_map(0u8..40, any::<u8>(), 0..30),
        changes in prop::collection::vec((0u8..40, prop::option::of(any::<u8>())), 0..30),
        refused in prop::collection::vec((0u8..40, prop::option::of(any::<u8>())), 0..10),
        from in 0u8..40,
        hops in prop::collection::vec(0u8..40, 0..4),
    ) {
        let kv = MemKv::default();
        kv.apply(base.iter().map(|(k, v)| (key(*k), Some(vec![*v]))).collect()).unwrap();
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = kv.dump();
        let mut txn = Txn::new(&kv);
        let change = |txn: &mut Txn<'_>, k: u8, v: Option<u8>| match v {
            Some(v) => txn.put_bytes(key(k), vec![v]),
            None => txn.delete(key(k)),
        };
        for (k, v) in &changes {
            change(&mut txn, *k, *v);
            match v {
                Some(v) => model.insert(key(*k), vec![*v]),
                None => model.remove(&key(*k)),
            };
        }
        txn.keep();
        for (k, v) in &refused {
            change(&mut txn, *k, *v);
        }
        txn.take_back();
        let expected: Vec<Pair> = model.range(key(from)..).map(|(k, v)| (k.clone(), v.clone())).collect();
        prop_assert_eq!(collect(&txn, &key(from)), expected);
        for k in 0..40 {
            prop_assert_eq!(txn.get(&key(k)).unwrap(), model.get(&key(k)).cloned());
            let below = model.range(..key(k)).next_back().map(|(k, v)| (k.clone(), v.clone()));
            prop_assert_eq!(txn.last_below(&key(k)).unwrap(), below);
        }
        let walk = |view: &dyn Read| {
            let (mut seen, mut hops) = (Vec::new(), hops.iter());
            view.scan(&key(from), &mut |k, _| {
                seen.push(k.to_vec());
                match hops.next().map(|hop| key(*hop)) {
                    Some(to) if to.as_slice() > k => Step::Seek(to),
                    Some(_) => Step::Next,
                    None => Step::Stop,
                }
            })
            .unwrap();
            seen
        };
        let applied = MemKv::default();
        applied.apply(model.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect()).unwrap();
        prop_assert_eq!(walk(&txn), walk(&applied));
        kv.apply(txn.into_batch()).unwrap();
        prop_assert_eq!(kv.dump(), model);
    }
}
