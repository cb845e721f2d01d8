//! HOSTILE 33, the other half: whatever a guest asks for at once, and however much it shares, what a device holds for
//! it is bounded. (That its neighbour keeps its share is in `replicated_test`.)

#![allow(clippy::cast_possible_truncation, reason = "test sizes are small")]

use crate::device::Device;
use crate::device_tests::{MemoryVolume, config, until};
use crate::limits::{
    MAX_BYTES_IN_FLIGHT, MAX_MEMORY_REGIONS, MAX_PIECE_BYTES, MAX_QUEUES, MAX_REQUESTS_IN_FLIGHT,
};
use crate::mem::{GuestRam, RegionPlace};
use crate::test_client::{Client, Io};
use std::time::Duration;

const QUEUES: u8 = 4;
const EACH: u64 = 128;

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Has every queue full of this; how many of it the volume was asked, which does not grow any more.
fn flood(client: &mut Client, volume: &MemoryVolume, io: Io, expected: usize) {
    volume.take_asked();
    volume.stall(true);
    for queue in 0..usize::from(QUEUES) {
        (0..EACH).for_each(|_| client.submit(queue, io, 0));
        client.kick(queue);
    }
    until("all that is allowed", || volume.asked() >= expected);
    for queue in 0..usize::from(QUEUES) {
        client.kick(queue);
    }
    std::thread::park_timeout(Duration::from_millis(300));
    assert_eq!(volume.asked(), expected, "of {} requests", u64::from(QUEUES) * EACH);
}

fn drain(client: &mut Client, volume: &MemoryVolume) {
    volume.stall(false);
    for queue in 0..usize::from(QUEUES) {
        assert!(client.wait(queue, EACH as usize).iter().all(|&result| result == 0));
    }
}

#[test]
fn what_a_device_holds_for_a_flooding_guest_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let volume = MemoryVolume::new();
    let device = Device::serve_backend(config(folder.path()), volume.clone()).unwrap();
    let mut client = Client::connect(&config(folder.path()).socket, QUEUES.into());
    const LEN: u64 = 1 << 20;
    const { assert!(QUEUES as u64 * EACH > MAX_REQUESTS_IN_FLIGHT as u64) };
    const { assert!(QUEUES as u64 * EACH * LEN > 4 * MAX_BYTES_IN_FLIGHT) };

    flood(&mut client, &volume, Io::Read { offset: 0, len: 512 }, MAX_REQUESTS_IN_FLIGHT);
    drain(&mut client, &volume);

    client.put(0, &vec![1; LEN as usize]);
    let before = resident_bytes();
    let io = Io::Write { offset: 0, len: LEN };
    flood(&mut client, &volume, io, (MAX_BYTES_IN_FLIGHT / LEN) as usize);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < MAX_BYTES_IN_FLIGHT + MAX_PIECE_BYTES + (16 << 20), "{grown} bytes more are resident");
    // The data is there, or this would measure nothing.
    assert!(grown > MAX_BYTES_IN_FLIGHT / 2, "only {grown} bytes more are resident");
    drain(&mut client, &volume);
    assert_eq!(device.status().errors, 0);
    drop(client);
    device.stop();
}

#[test]
fn memory_regions_and_queues_are_counted() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(4096 * (MAX_MEMORY_REGIONS as u64 + 1)).unwrap();
    let mut ram = GuestRam::empty();
    for index in 0..=MAX_MEMORY_REGIONS as u64 {
        let at = index * 4096;
        let place = RegionPlace { guest_addr: at, user_addr: at, len: 4096, file_offset: at };
        match ram.with_region(place, file.try_clone().unwrap()) {
            Ok(larger) => ram = larger,
            Err(error) => {
                assert_eq!(index, MAX_MEMORY_REGIONS as u64, "{error}");
                let folder = tempfile::tempdir().unwrap();
                let many = crate::device::Front { num_queues: MAX_QUEUES + 1, ..config(folder.path()) };
                assert!(Device::serve_backend(many, MemoryVolume::new()).is_err());
                return;
            }
        }
    }
    panic!("{} regions in one session", MAX_MEMORY_REGIONS + 1);
}
