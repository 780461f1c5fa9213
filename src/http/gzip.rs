//! The gzip format without compression (RFC 1952 around stored blocks of RFC 1951).
//!
//! Released clients cannot read a downloaded file that is not encoded. What is stored in folders is seldom worth the
//! time that compressing takes, and so its length is known before its first byte is read.

use bytes::{BufMut, Bytes, BytesMut};

/// No name, no time, no operating system.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// Bytes in a block: pieces that are no multiple of it, but for the last, would break [`length`]'s promise.
const BLOCK: u16 = 32 << 10;
/// What stands before a block: whether it is the last, its length, and the length's complement.
const BLOCK_HEAD: u64 = 5;
/// CRC-32 and length.
const TAIL: u64 = 8;

/// Bytes that so many take when they are encoded.
#[must_use]
pub fn length(size: u64) -> u64 {
    HEAD.len() as u64 + size + (size.div_ceil(BLOCK.into()) + 1) * BLOCK_HEAD + TAIL
}

/// A file on its way out.
#[derive(Default)]
pub struct Encoder {
    checksum: crc32fast::Hasher,
    size: u64,
}

// === impl Encoder ===

impl Encoder {
    /// What comes first.
    #[must_use]
    pub fn head(&self) -> Bytes {
        Bytes::from_static(&HEAD)
    }

    /// The next piece, encoded: a multiple of 32 KiB, unless it is the last.
    #[must_use]
    pub fn piece(&mut self, piece: &[u8]) -> Bytes {
        self.checksum.update(piece);
        self.size += piece.len() as u64;
        let blocks = piece.chunks(BLOCK.into());
        let mut encoded = BytesMut::with_capacity(piece.len() + blocks.len() * BLOCK_HEAD as usize);
        for block in blocks {
            let length = u16::try_from(block.len()).unwrap_or(BLOCK);
            put_head(&mut encoded, false, length);
            encoded.put_slice(block);
        }
        encoded.freeze()
    }

    /// What comes last.
    #[must_use]
    pub fn end(self) -> Bytes {
        let mut encoded = BytesMut::with_capacity((BLOCK_HEAD + TAIL) as usize);
        put_head(&mut encoded, true, 0);
        encoded.put_u32_le(self.checksum.finalize());
        // The format counts modulo 2³².
        encoded.put_u32_le(self.size as u32);
        encoded.freeze()
    }
}

fn put_head(encoded: &mut BytesMut, last: bool, length: u16) {
    encoded.put_u8(u8::from(last));
    encoded.put_u16_le(length);
    encoded.put_u16_le(!length);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut encoder = Encoder::default();
        let mut encoded = encoder.head().to_vec();
        for piece in pieces {
            encoded.extend_from_slice(&encoder.piece(piece));
        }
        encoded.extend_from_slice(&encoder.end());
        encoded
    }

    #[test]
    fn a_short_file() {
        // Checked with Python: zlib.decompress(…, 31) == b"hello".
        let expected = [HEAD.as_slice(), b"\0\x05\0\xfa\xffhello", b"\x01\0\0\xff\xff", b"\x86\xa6\x10\x36\x05\0\0\0"];
        assert_eq!(encode([b"hello".as_slice()]), expected.concat());
    }

    #[test]
    fn the_length_is_known_before() {
        let piece = vec![7; 64 << 10];
        for last in [0, 1, 32_767, 32_768, 32_769, 65_535, 65_536] {
            let encoded = encode([&piece[..], &piece[..last]]);
            assert_eq!(encoded.len() as u64, length((piece.len() + last) as u64), "{last}");
        }
        assert_eq!(encode([]).len() as u64, length(0));
    }
}
