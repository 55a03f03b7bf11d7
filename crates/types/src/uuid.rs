//! Kafka's `Uuid`: 16 bytes, written as 22 characters of unpadded URL-safe base64. Making a random one is the
//! caller's affair: this crate has no random source.

use std::fmt;
use std::str::FromStr;

/// 128 bits that name a topic, a directory, a cluster or a client instance.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Uuid(pub [u8; 16]);

/// The text is not 22 characters of URL-safe base64 (with or without `==`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseUuidError;

impl Uuid {
    /// All bits zero: "no id" (`Uuid.ZERO_UUID`, `DirectoryId.UNASSIGNED`).
    pub const ZERO: Uuid = Uuid([0; 16]);
    /// The id of `__cluster_metadata` (`Uuid.ONE_UUID`, `Uuid.METADATA_TOPIC_ID`); as a directory id it means `LOST`.
    pub const ONE: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    /// Whether all bits are zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Turns 16 random bytes into a version 4 UUID, as `Uuid.randomUuid` does. Returns `None` for values Kafka keeps
    /// for itself (text beginning with `-`); draw again then.
    #[must_use]
    pub fn from_random(mut bytes: [u8; 16]) -> Option<Uuid> {
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
        *version = (*version & 0x0f) | 0x40;
        *variant = (*variant & 0x3f) | 0x80;
        let uuid = Uuid(bytes);
        (!uuid.to_string().starts_with('-')).then_some(uuid)
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        // 22 characters hold 132 bits: the last one carries two bits and four zeros.
        for at in 0..22u32 {
            let shift = 122 - 6 * at as i32;
            let six = if shift >= 0 { bits >> shift } else { bits << -shift } & 0x3f;
            let character = ALPHABET.get(six as usize).copied().unwrap_or(b'?');
            fmt::Write::write_char(f, char::from(character))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Uuid, ParseUuidError> {
        let text = text.trim_end_matches('=');
        if text.len() != 22 {
            return Err(ParseUuidError);
        }
        let mut bits: u128 = 0;
        for (at, byte) in text.bytes().enumerate() {
            let six = ALPHABET.iter().position(|known| *known == byte).ok_or(ParseUuidError)? as u128;
            bits = if at < 21 { bits << 6 | six } else { bits << 2 | six >> 4 };
        }
        Ok(Uuid(bits.to_be_bytes()))
    }
}

impl fmt::Display for ParseUuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a UUID is 22 characters of URL-safe base64")
    }
}

impl std::error::Error for ParseUuidError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_kafkas_and_reads_back() {
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Uuid::ONE.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        let uuid = Uuid(std::array::from_fn(|at| (at * 17 + 3) as u8));
        assert_eq!(uuid.to_string().parse(), Ok(uuid));
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAQ==".parse(), Ok(Uuid::ONE));
        assert_eq!("short".parse::<Uuid>(), Err(ParseUuidError));
        assert_eq!("!AAAAAAAAAAAAAAAAAAAAA".parse::<Uuid>(), Err(ParseUuidError));
    }

    #[test]
    fn random_ids_carry_version_4() {
        let uuid = Uuid::from_random([0x11; 16]).expect("does not start with a dash");
        assert_eq!(uuid.0[6] >> 4, 4);
        assert_eq!(uuid.0[8] >> 6, 2);
        assert_eq!(Uuid::from_random([0xfb; 16]), None);
    }
}
