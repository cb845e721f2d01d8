use super::*;

fn sample() -> FrameHeader {
    FrameHeader {
        kind: FrameType::Write,
        flags: 1,
        volume: VolumeId(0x0102_0304_0506_0708),
        chunk: ChunkIndex(0x1112_1314),
        first_block: 0x2122,
        block_count: 0x3132,
        version: Version(0x4142_4344_4546_4748),
        sequence: 0x5152_5354_5556_5758,
        settled: Version(0x6162_6364_6566_6768),
        group_epoch: GroupEpoch(0x7172_7374),
        payload_len: 0x0001_0002,
        table_crc: 0x9192_9394,
    }
}

#[test]
fn golden_bytes() {
    let golden = "415348460104010008070605040302011413121122213231\
                  4847464544434241585756555453525168676665646362617473727102000100949392";
    let encoded: String = sample().encode().iter().map(|b| format!("{b:02x}")).collect();
    assert!(encoded.starts_with(golden), "{encoded}");
    assert_eq!(&encoded[118..120], "91");
}

#[test]
fn decodes_what_it_encodes_and_nothing_else() {
    let bytes = sample().encode();
    assert_eq!(FrameHeader::decode(&bytes), Ok(sample()));
    for bit in 0..HEADER_BYTES * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(FrameHeader::decode(&flipped).is_err(), "bit {bit} went unnoticed");
    }
}

#[test]
fn refuses_a_long_payload_before_it_is_allocated() {
    let mut header = sample();
    header.payload_len = u32::MAX;
    assert_eq!(FrameHeader::decode(&header.encode()), Err(FrameError::TooLong(u32::MAX)));
}
