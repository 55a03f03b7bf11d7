//! Varints as Kafka writes them: seven bits a byte, lowest first; signed ones zig-zag. Kafka's counterpart: `ByteUtils`.
//! Reading functions return the value and how many bytes it took, or `None` when the bytes end or the varint is longer
//! than its type allows.

use bytes::BufMut;

/// Reads an unsigned 32-bit varint of at most 5 bytes.
#[inline]
#[must_use]
pub fn read_uvarint(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut value = 0u32;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        if at == 4 && *byte > 0x0f {
            return None;
        }
        value |= u32::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// Reads an unsigned 64-bit varint of at most 10 bytes.
#[inline]
#[must_use]
pub fn read_uvarlong(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        if at == 9 && *byte > 0x01 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// Reads a zig-zag 32-bit varint.
#[inline]
#[must_use]
pub fn read_varint(bytes: &[u8]) -> Option<(i32, usize)> {
    read_uvarint(bytes).map(|(raw, len)| ((raw >> 1) as i32 ^ -((raw & 1) as i32), len))
}

/// Reads a zig-zag 64-bit varint.
#[inline]
#[must_use]
pub fn read_varlong(bytes: &[u8]) -> Option<(i64, usize)> {
    read_uvarlong(bytes).map(|(raw, len)| ((raw >> 1) as i64 ^ -((raw & 1) as i64), len))
}

/// Writes an unsigned 32-bit varint.
#[inline]
pub fn write_uvarint(out: &mut impl BufMut, value: u32) {
    write_uvarlong(out, u64::from(value));
}

/// Writes an unsigned 64-bit varint.
#[inline]
pub fn write_uvarlong(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Writes a zig-zag 32-bit varint.
#[inline]
pub fn write_varint(out: &mut impl BufMut, value: i32) {
    write_uvarint(out, ((value << 1) ^ (value >> 31)) as u32);
}

/// Writes a zig-zag 64-bit varint.
#[inline]
pub fn write_varlong(out: &mut impl BufMut, value: i64) {
    write_uvarlong(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Bytes that an unsigned 32-bit varint takes.
#[inline]
#[must_use]
pub fn uvarint_len(value: u32) -> usize {
    uvarlong_len(u64::from(value))
}

/// Bytes that an unsigned 64-bit varint takes.
#[inline]
#[must_use]
pub fn uvarlong_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Bytes that a zig-zag 32-bit varint takes.
#[inline]
#[must_use]
pub fn varint_len(value: i32) -> usize {
    uvarint_len(((value << 1) ^ (value >> 31)) as u32)
}

/// Bytes that a zig-zag 64-bit varint takes.
#[inline]
#[must_use]
pub fn varlong_len(value: i64) -> usize {
    uvarlong_len(((value << 1) ^ (value >> 63)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_read_back_at_every_width() {
        for shift in 0..64 {
            for value in [1i64 << shift, (1i64 << shift).wrapping_sub(1), (1i64 << shift).wrapping_neg()] {
                let mut out = Vec::new();
                write_varlong(&mut out, value);
                assert_eq!(read_varlong(&out), Some((value, out.len())));
                assert_eq!(varlong_len(value), out.len());
                let mut out = Vec::new();
                write_varint(&mut out, value as i32);
                assert_eq!(read_varint(&out), Some((value as i32, out.len())));
                assert_eq!(varint_len(value as i32), out.len());
                let mut out = Vec::new();
                write_uvarint(&mut out, value as u32);
                assert_eq!(read_uvarint(&out), Some((value as u32, out.len())));
                assert_eq!(uvarint_len(value as u32), out.len());
            }
        }
    }

    #[test]
    fn endless_and_cut_varints_are_refused() {
        assert_eq!(read_uvarint(&[0x80; 5]), None);
        assert_eq!(read_uvarint(&[0xff, 0xff, 0xff, 0xff, 0x10]), None);
        assert_eq!(read_uvarint(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Some((u32::MAX, 5)));
        assert_eq!(read_uvarlong(&[0x80; 12]), None);
        assert_eq!(read_uvarint(&[0x80]), None);
        assert_eq!(read_uvarint(&[]), None);
    }
}
