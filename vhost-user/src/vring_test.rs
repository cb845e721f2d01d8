//! A queue that crashes between any two stores, and the one that goes on behind it.

use super::*;
use crate::inflight::Shape;
use crate::shared::crash;
use crate::test_guest::{DATA, QUEUE_SIZE, TestGuest, writable};

const SHAPE: Shape = Shape { num_queues: 1, queue_size: QUEUE_SIZE };
const HEADS: u16 = 6;

/// A driver that offers its few heads again and again, and a record that outlives the devices.
struct Bed {
    guest: TestGuest,
    file: File,
    free: Vec<u16>,
    /// What the driver offered, in order, and was not given back.
    offered: Vec<u16>,
    done: usize,
}

impl Bed {
    fn new() -> Self {
        let mut guest = TestGuest::new();
        // Both indices wrap around soon.
        guest.begin_at(65_530);
        (0..HEADS).for_each(|head| guest.put_own_descriptor(head, writable(DATA, 16), 0));
        let file = Record::create(SHAPE).unwrap();
        Self { guest, file, free: (0..HEADS).collect(), offered: Vec::new(), done: 0 }
    }

    /// A device that starts where a front end says that only knows what the guest was given.
    fn start(&self) -> Vring {
        let record = Record::adopt(self.file.try_clone().unwrap(), 0, SHAPE).unwrap();
        let next_avail = 65_530_u16.wrapping_add(u16::try_from(self.done).unwrap());
        let setup = VringSetup { next_avail, record: Some((Arc::new(record), 0)), ..self.guest.setup() };
        Vring::start(setup, &self.guest.ram).unwrap()
    }

    fn offer_all(&mut self) {
        for head in self.free.drain(..) {
            self.guest.offer_head(head);
            self.offered.push(head);
        }
    }

    /// What the driver sees in the used ring: each head once for each time it was offered.
    fn reap(&mut self) {
        for (head, _) in self.guest.used() {
            let head = u16::try_from(head).unwrap();
            let at = self.offered.iter().position(|&offered| offered == head);
            self.offered.remove(at.expect("a head that was not offered, or was handed back twice"));
            self.free.push(head);
            self.done += 1;
        }
    }
}

/// Takes all, answers in an order that is not the ring's, `rounds` times or until the crash.
fn work(bed: &mut Bed, vring: &mut Vring, rounds: usize) -> Result<(), Error> {
    let ram = Arc::clone(&bed.guest.ram);
    for round in 0..rounds {
        bed.offer_all();
        let expected = bed.offered.clone();
        let mut heads = Vec::new();
        while let Some(taken) = vring.pop(&ram)? {
            heads.push(taken.head);
        }
        assert_eq!(heads, expected, "everything is asked, in the order it was offered, and nothing else");
        let by = round % heads.len();
        heads.rotate_left(by);
        // Some stay in flight, so that later ones pass them.
        let wait = if round + 1 == rounds { 0 } else { round % 3 };
        for head in heads.into_iter().skip(wait) {
            let outcome = vring.give_back(&ram, head, 0);
            bed.reap();
            outcome?;
        }
        vring.again.extend(bed.offered.iter().copied());
    }
    Ok(())
}

#[test]
fn no_crash_loses_or_repeats_an_answer() {
    let mut crashes = 0;
    for first in 0..400 {
        let mut bed = Bed::new();
        let mut vring = bed.start();
        crash::after(first);
        let outcome = work(&mut bed, &mut vring, 7);
        crash::never();
        drop(vring);
        bed.reap();
        if outcome.is_ok() {
            break;
        }
        crashes += 1;
        // It may crash again while it recovers or soon after.
        for second in [first % 5, first % 23] {
            let record = Record::adopt(bed.file.try_clone().unwrap(), 0, SHAPE).unwrap();
            crash::after(second);
            let setup = VringSetup { record: Some((Arc::new(record), 0)), ..bed.guest.setup() };
            if let Ok(mut vring) = Vring::start(setup, &bed.guest.ram) {
                let _ = work(&mut bed, &mut vring, 1);
            }
            crash::never();
            bed.reap();
        }
        let mut vring = bed.start();
        work(&mut bed, &mut vring, 3).unwrap();
        assert!(bed.offered.is_empty(), "lost after a crash at store {first}: {:?}", bed.offered);
    }
    assert!(crashes > 200, "{crashes}");
}

/// The four windows by name.
#[test]
fn each_window_of_a_crash_is_known() {
    let ram = |bed: &Bed| Arc::clone(&bed.guest.ram);
    let in_flight = |vring: &Vring| vring.again.iter().copied().collect::<Vec<_>>();

    // Before marking: the available ring has them all.
    let mut bed = Bed::new();
    bed.offer_all();
    drop(bed.start());
    let vring = bed.start();
    assert_eq!((in_flight(&vring), vring.next_avail()), (vec![], 65_530));

    // After marking, before the volume was asked.
    let mut bed = Bed::new();
    bed.offer_all();
    let mut vring = bed.start();
    vring.pop(&ram(&bed)).unwrap();
    vring.pop(&ram(&bed)).unwrap();
    let vring = bed.start();
    assert_eq!((in_flight(&vring), vring.next_avail()), (vec![0, 1], 65_532));
    assert!(vring.owes_call());

    // After completion, before the used index was written: the guest was told nothing.
    let mut bed = Bed::new();
    bed.offer_all();
    let mut vring = bed.start();
    vring.pop(&ram(&bed)).unwrap();
    vring.pop(&ram(&bed)).unwrap();
    vring.begin_use(0).unwrap();
    let vring = bed.start();
    assert_eq!((in_flight(&vring), vring.next_avail()), (vec![0, 1], 65_532));

    // Between the used index and clearing: the guest has it, and it is not asked again.
    let mut bed = Bed::new();
    bed.offer_all();
    let mut vring = bed.start();
    vring.pop(&ram(&bed)).unwrap();
    vring.pop(&ram(&bed)).unwrap();
    vring.begin_use(1).unwrap();
    vring.publish(&ram(&bed), 1, 0).unwrap();
    let vring = bed.start();
    assert_eq!((in_flight(&vring), vring.next_avail()), (vec![0], 65_532));
    assert_eq!(bed.guest.used(), [(1, 0)]);
}
