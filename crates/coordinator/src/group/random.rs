//! Ids for members: the shell gives the seed, since a pure room has no random source.

use milena_types::Uuid;

/// A stream of random bits (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A version 4 UUID as Kafka makes them (`Uuid.randomUuid`).
    pub fn uuid(&mut self) -> Uuid {
        loop {
            let bits = (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64());
            if let Some(uuid) = Uuid::from_random(bits.to_be_bytes()) {
                return uuid;
            }
        }
    }

    /// A version 4 UUID in Java's spelling, with dashes (`java.util.UUID`).
    pub fn dashed_uuid(&mut self) -> String {
        let bits = u128::from_be_bytes(self.uuid().0);
        let part = |shift: u32, len: u32| (bits >> shift) & ((1u128 << (4 * len)) - 1);
        format!("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", part(96, 8), part(80, 4), part(64, 4), part(48, 4), part(0, 12))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_have_javas_spelling() {
        let mut random = Random::new(1);
        let (one, other) = (random.dashed_uuid(), random.dashed_uuid());
        assert_ne!(one, other);
        let lengths: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&one[14..15], "4");
    }
}
