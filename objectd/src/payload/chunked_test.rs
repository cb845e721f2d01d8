use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::{Checksum, ChecksumAlgorithm, ChecksumSet, ChunkedDecoder};
use crate::auth::ChunkSigner;
use crate::error::{S3Code, S3Error};

const CRC32: ChecksumAlgorithm = ChecksumAlgorithm::Crc32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Signed,
    SignedTrailer,
    UnsignedTrailer,
}

const MODES: [Mode; 3] = [Mode::Signed, Mode::SignedTrailer, Mode::UnsignedTrailer];

fn signer() -> ChunkSigner {
    ChunkSigner::new(
        [7; 32],
        "20130524T000000Z",
        "20130524/us-east-1/s3/aws4_request".into(),
        &"5".repeat(64),
    )
}

fn sum(data: &[u8]) -> Checksum {
    let mut set = ChecksumSet::new(CRC32, false);
    set.update(data);
    set.finish().checksum
}

fn chunk_line(size: usize, signature: Option<&str>) -> String {
    match signature {
        Some(signature) => format!("{size:x};chunk-signature={signature}\r\n"),
        None => format!("{size:x}\r\n"),
    }
}

/// A body with these chunks, as a client of this mode would send it.
fn encode(mode: Mode, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut signer = signer();
    let mut out = Vec::new();
    for chunk in chunks.iter().chain([&Vec::new()]) {
        let hash: [u8; 32] = Sha256::digest(chunk).into();
        let signature = signer.sign_chunk(&hash).to_owned();
        let line = chunk_line(chunk.len(), (mode != Mode::UnsignedTrailer).then_some(&signature));
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(chunk);
        if !chunk.is_empty() {
            out.extend_from_slice(b"\r\n");
        }
    }
    if mode != Mode::Signed {
        let value = sum(&chunks.concat()).to_base64();
        out.extend_from_slice(format!("x-amz-checksum-crc32:{value}\r\n").as_bytes());
        if mode == Mode::SignedTrailer {
            let signature = signer.sign_trailer(format!("x-amz-checksum-crc32:{value}\n").as_bytes());
            out.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn decoder(mode: Mode, length: usize) -> ChunkedDecoder {
    ChunkedDecoder::new(
        length as u64,
        (mode != Mode::UnsignedTrailer).then(signer),
        (mode != Mode::Signed).then_some(CRC32),
    )
}

/// Decodes `wire` in pieces of the given sizes, and compares the trailer's checksum as a reader would.
fn decode(mode: Mode, length: usize, wire: &[u8], pieces: &[usize]) -> Result<Vec<u8>, S3Error> {
    let mut decoder = decoder(mode, length);
    let (mut out, mut rest, mut turn) = (BytesMut::new(), wire, 0);
    while !rest.is_empty() {
        let len = pieces.get(turn % pieces.len().max(1)).copied().unwrap_or(rest.len()).clamp(1, rest.len());
        turn += 1;
        let mut input = Bytes::copy_from_slice(&rest[..len]);
        rest = &rest[len..];
        while let Some(data) = decoder.push(&mut input)? {
            assert!(!data.is_empty());
            out.extend_from_slice(&data);
        }
        assert!(input.is_empty());
    }
    match decoder.finish()? {
        Some(expected) if expected != sum(&out) => Err(S3Error::new(S3Code::BadDigest)),
        _ => Ok(out.to_vec()),
    }
}

fn code(mode: Mode, length: usize, wire: &[u8]) -> S3Code {
    let error = decode(mode, length, wire, &[]).expect_err("must be refused");
    assert!(error.status().is_client_error());
    error.code()
}

fn two_chunks() -> Vec<Vec<u8>> {
    vec![vec![b'a'; 8192], b"the last one may be short".to_vec()]
}

#[test]
fn an_empty_body_is_a_body() {
    for mode in MODES {
        assert_eq!(decode(mode, 0, &encode(mode, &[]), &[]).expect("empty"), b"");
        assert_eq!(code(mode, 0, b""), S3Code::IncompleteBody);
        assert_eq!(code(mode, 1, &encode(mode, &[])), S3Code::IncompleteBody);
    }
}

/// Every flipped bit changes the verdict, but for the case of a size's hexadecimal letters, which clients
/// write either way.
#[test]
fn every_flipped_bit_is_refused() {
    for mode in MODES {
        let chunks = two_chunks();
        let data = chunks.concat();
        let wire = encode(mode, &chunks);
        for at in 0..wire.len() {
            // Within the long run of data every byte is like its neighbour.
            if (120..8200).contains(&at) && at % 97 != 0 {
                continue;
            }
            for bit in 0..8 {
                let mut tampered = wire.clone();
                tampered[at] ^= 1 << bit;
                let lettercase = bit == 5 && wire[at].is_ascii_hexdigit() && wire[at].is_ascii_alphabetic();
                match decode(mode, data.len(), &tampered, &[]) {
                    Err(error) => assert!(error.status().is_client_error()),
                    Ok(out) => {
                        assert!(lettercase, "{mode:?}: byte {at} bit {bit} was let through");
                        assert_eq!(out, data);
                    }
                }
            }
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    for mode in MODES {
        let chunks = two_chunks();
        let wire = encode(mode, &chunks);
        let length = chunks.concat().len();
        for end in 0..wire.len() {
            match decode(mode, length, &wire[..end], &[]) {
                Err(error) => assert!(error.status().is_client_error()),
                // All that verifies is there; only a last empty line is missing.
                Ok(_) => assert_eq!(wire[end..], b"\r\n"[..wire.len() - end], "{mode:?} {end}"),
            }
        }
    }
}

#[test]
fn reordered_repeated_and_dropped_chunks_are_refused() {
    let (a, b) = (vec![b'a'; 8192], vec![b'b'; 8192]);
    let line_len = chunk_line(8192, Some(&"0".repeat(64))).len();
    let span = line_len + 8192 + 2;
    for mode in [Mode::Signed, Mode::SignedTrailer] {
        let wire = encode(mode, &[a.clone(), b.clone()]);
        let (first, second, tail) = (&wire[..span], &wire[span..2 * span], &wire[2 * span..]);
        assert_eq!(code(mode, 16_384, &[second, first, tail].concat()), S3Code::SignatureDoesNotMatch);
        assert_eq!(code(mode, 16_384, &[first, first, tail].concat()), S3Code::SignatureDoesNotMatch);
        assert_eq!(code(mode, 8192, &[first, tail].concat()), S3Code::SignatureDoesNotMatch);
        assert_eq!(code(mode, 16_384, &[first, tail].concat()), S3Code::IncompleteBody);
    }
}

#[test]
fn a_lie_about_the_length_is_refused() {
    for mode in MODES {
        let chunks = two_chunks();
        let (wire, length) = (encode(mode, &chunks), chunks.concat().len());
        for wrong in [0, length - 1, length + 1, usize::MAX] {
            assert_eq!(code(mode, wrong, &wire), S3Code::IncompleteBody);
        }
    }
}

#[test]
fn chunks_can_not_be_downgraded() {
    let chunks = two_chunks();
    let length = chunks.concat().len();
    assert_eq!(
        code(Mode::SignedTrailer, length, &encode(Mode::UnsignedTrailer, &chunks)),
        S3Code::AccessDenied
    );
    assert_eq!(code(Mode::Signed, length, &encode(Mode::UnsignedTrailer, &chunks)), S3Code::AccessDenied);
    assert_eq!(code(Mode::SignedTrailer, length, &encode(Mode::Signed, &chunks)), S3Code::IncompleteBody);
    assert_eq!(code(Mode::Signed, length, &encode(Mode::SignedTrailer, &chunks)), S3Code::InvalidRequest);
    assert_eq!(
        code(Mode::UnsignedTrailer, length, &encode(Mode::SignedTrailer, &chunks)),
        S3Code::InvalidRequest
    );
}

#[test]
fn short_signed_chunks_but_the_last_are_refused() {
    let chunks = [vec![b'a'; 8191], vec![b'b'; 8192]];
    assert_eq!(code(Mode::Signed, 16_383, &encode(Mode::Signed, &chunks)), S3Code::InvalidChunkSizeError);
    // Nothing is verified per chunk there, and some clients send what their stream gives them.
    decode(Mode::UnsignedTrailer, 16_383, &encode(Mode::UnsignedTrailer, &chunks), &[]).expect("let through");
}

#[test]
fn trailers_must_be_the_announced_one() {
    let cases: [(&str, S3Code); 11] = [
        ("", S3Code::IncompleteBody),
        ("\r\n", S3Code::IncompleteBody),
        ("\r\n\r\n", S3Code::IncompleteBody),
        ("x-amz-checksum-crc32c:AAAAAA==\r\n\r\n", S3Code::MalformedTrailerError),
        ("x-amz-checksum-crc32:AAAAAA==\r\nx-other:1\r\n\r\n", S3Code::MalformedTrailerError),
        (
            "x-amz-checksum-crc32:AAAAAA==\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n",
            S3Code::MalformedTrailerError,
        ),
        ("x-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer-signature:0\r\n\r\n", S3Code::MalformedTrailerError),
        ("x-amz-checksum-crc32:AAAAAA==", S3Code::MalformedTrailerError),
        ("x-amz-checksum-crc32:AAAA\r\n\r\n", S3Code::InvalidRequest),
        ("x-amz-checksum-crc32:AAAAAQ==\r\n\r\n", S3Code::BadDigest),
        ("\u{e9}\r\n", S3Code::MalformedTrailerError),
    ];
    for (trailer, expected) in cases {
        let wire = format!("0\r\n{trailer}");
        assert_eq!(code(Mode::UnsignedTrailer, 0, wire.as_bytes()), expected, "{trailer:?}");
    }
    let long = format!("0\r\nx-amz-checksum-crc32:{}\r\n", "A".repeat(5000));
    assert_eq!(code(Mode::UnsignedTrailer, 0, long.as_bytes()), S3Code::MalformedTrailerError);
}

#[test]
fn line_ends_as_one_client_library_writes_them_are_read() {
    let wire = b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\n\r\n\r\n";
    assert_eq!(decode(Mode::UnsignedTrailer, 3, wire, &[]).expect("read"), b"abc");
    let wire = encode(Mode::SignedTrailer, &[b"abc".to_vec()]);
    let text = String::from_utf8(wire).expect("text");
    let odd = text.replace("NSRBwg==\r\n", "NSRBwg==\n\r\n");
    assert_ne!(odd, text);
    assert_eq!(decode(Mode::SignedTrailer, 3, odd.as_bytes(), &[]).expect("read"), b"abc");
}

#[test]
fn malformed_size_lines_are_refused() {
    for wire in [
        "\r\n",
        "g\r\n",
        "-1\r\n",
        "+1\r\n",
        " 1\r\n",
        "0x1\r\n",
        "1 \r\n",
        "1\n",
        ";\r\n",
        "1;x=y\r\na\r\n",
        "00000000000000001\r\n",
        "3\r\nabcd\r\n",
        "3\r\nabc0\r\n",
        "3\r\nabc\n0\r\n",
    ] {
        let error = decode(Mode::UnsignedTrailer, 3, wire.as_bytes(), &[]).expect_err(wire);
        assert!(error.status().is_client_error(), "{wire:?}");
    }
    assert_eq!(code(Mode::UnsignedTrailer, 3, b"ffffffffffffffff\r\n"), S3Code::IncompleteBody);
    let endless = [b'0'; 300];
    assert_eq!(code(Mode::UnsignedTrailer, 3, &endless), S3Code::InvalidRequest);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn how_the_input_is_split_changes_nothing(
        tail in proptest::collection::vec(any::<u8>(), 0..9000),
        full in 0_usize..3,
        pieces in proptest::collection::vec(1_usize..3000, 1..8),
    ) {
        for mode in MODES {
            let mut chunks = vec![vec![0x5a; 8192]; full];
            if !tail.is_empty() {
                chunks.push(tail.clone());
            }
            let data = chunks.concat();
            let wire = encode(mode, &chunks);
            prop_assert_eq!(decode(mode, data.len(), &wire, &pieces).expect("decoded"), data.clone());
            prop_assert_eq!(decode(mode, data.len(), &wire, &[1]).expect("decoded"), data);
        }
    }

    #[test]
    fn garbage_never_panics(
        wire in proptest::collection::vec(any::<u8>(), 0..400),
        text in "[0-9a-f;:=\r\n x-]{0,200}",
        length in 0_usize..64,
    ) {
        for mode in MODES {
            let _ = decode(mode, length, &wire, &[3]);
            let _ = decode(mode, length, text.as_bytes(), &[5]);
            let _ = decode(mode, length, format!("0\r\n{text}").as_bytes(), &[]);
        }
    }
}
