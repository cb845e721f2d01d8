use super::*;
use crate::test_guest::{RAM_BYTES, TestGuest, USER_BASE};

fn segment(addr: u64, len: u32) -> Segment {
    Segment { addr: GuestAddress(addr), len }
}

#[test]
fn copies_across_segments_from_any_byte() {
    let guest = TestGuest::new();
    guest.put(0x1000, b"hello ");
    guest.put(0x9000, b"guest!");
    let segments = [segment(0x1000, 6), segment(0x9000, 6)];
    assert_eq!(&guest.ram.read(&segments, 0, 12).unwrap()[..], b"hello guest!");
    assert_eq!(&guest.ram.read(&segments, 4, 4).unwrap()[..], b"o gu");
    assert_eq!(&guest.ram.read(&segments, 7, 5).unwrap()[..], b"uest!");
    assert!(guest.ram.read(&segments, 7, 6).is_err(), "one byte more than there is");
    guest.ram.write(&segments, 5, b"-G").unwrap();
    assert_eq!((guest.get(0x1000, 6), guest.get(0x9000, 6)), (b"hello-".to_vec(), b"Guest!".to_vec()));
}

#[test]
fn knows_what_is_mapped() {
    let guest = TestGuest::new();
    assert!(guest.ram.contains(segment(0, 1)));
    assert!(guest.ram.contains(segment(RAM_BYTES - 4096, 4096)));
    for hostile in [
        segment(RAM_BYTES - 4096, 4097),
        segment(RAM_BYTES, 1),
        segment(u64::MAX, 2),
        segment(u64::MAX - 100, 4096),
        segment(0xf000_0000, u32::MAX),
    ] {
        assert!(!guest.ram.contains(hostile), "{hostile:?}");
        assert!(guest.ram.read(&[hostile], 0, hostile.len as usize).is_err());
        assert!(guest.ram.write(&[hostile], 0, &[0; 8192]).is_err());
    }
    assert_eq!(guest.ram.guest_addr(USER_BASE + 5), Some(5));
    assert_eq!(guest.ram.guest_addr(USER_BASE + RAM_BYTES), None);
    assert_eq!(guest.ram.guest_addr(USER_BASE - 1), None);
}

#[test]
fn regions_come_and_go_and_never_overlap() {
    let guest = TestGuest::new();
    let file = || guest.file.try_clone().unwrap();
    let place = |guest_addr, len| RegionPlace { guest_addr, user_addr: 0x1000, len, file_offset: 0 };
    let more = guest.ram.with_region(place(RAM_BYTES, 8192), file()).unwrap();
    assert!(more.contains(segment(RAM_BYTES - 8, 16)), "adjacent regions are one memory");
    assert!(guest.ram.with_region(place(4096, 8192), file()).is_err(), "overlaps");
    assert!(guest.ram.with_region(place(RAM_BYTES, 0), file()).is_err(), "empty");
    assert!(guest.ram.with_region(place(u64::MAX - 4095, 8192), file()).is_err(), "wraps");
    assert!(guest.ram.with_region(place(RAM_BYTES, RAM_BYTES + 1), file()).is_err(), "past the file's end");
    let wrapping = RegionPlace { file_offset: u64::MAX - 10, ..place(RAM_BYTES, 4096) };
    assert!(guest.ram.with_region(wrapping, file()).is_err());
    let less = more.without_region(place(RAM_BYTES, 8192)).unwrap();
    assert!(!less.contains(segment(RAM_BYTES, 1)));
    assert!(less.without_region(place(RAM_BYTES, 8192)).is_err());
}

#[test]
fn a_truncated_file_loses_its_region_and_nothing_else() {
    let (guest, neighbour) = (TestGuest::new(), TestGuest::new());
    guest.put(0x5000, b"here");
    neighbour.put(0x5000, b"here");
    guest.file.set_len(0).unwrap();
    assert!(!guest.ram.is_lost(), "nobody touched it yet");
    let data = guest.ram.read(&[segment(0x5000, 4)], 0, 4).unwrap();
    assert_eq!((&data[..], guest.ram.is_lost()), (&[0; 4][..], true));
    guest.ram.write(&[segment(0x9000, 4)], 0, b"gone").unwrap();
    assert!(!neighbour.ram.is_lost());
    assert_eq!(&neighbour.ram.read(&[segment(0x5000, 4)], 0, 4).unwrap()[..], b"here");
}
