//! The newest offset of each key (`SkimpyOffsetMap`). A key is known by 128 bits of a keyed hash (SipHash-1-3), so that
//! nobody can make two keys that are one here; an entry takes 24 bytes, as in Kafka, and so as many fit into
//! `log.cleaner.dedupe.buffer.size`. Unlike Kafka's it takes memory as it fills.

/// Bytes of an entry: hash and offset.
pub(super) const ENTRY_BYTES: u64 = 24;

/// Parts that grow by themselves, so that little is there twice while one does.
const SHARDS: usize = 32;

/// With fewer slots there is one part.
const SHARDED_FROM_SLOTS: usize = 1 << 16;

/// What a part begins with.
const SLOTS_MIN: usize = 64;

#[derive(Clone, Copy, Default, Debug)]
struct Slot {
    hash: [u64; 2],
    /// The offset plus one; 0 if the slot is free.
    place: i64,
}

#[derive(Default, Debug)]
struct Shard {
    slots: Vec<Slot>,
    count: usize,
}

/// The map.
#[derive(Debug)]
pub(super) struct OffsetMap {
    key: [u64; 2],
    shards: Vec<Shard>,
    shard_slots_max: usize,
    count: usize,
    count_max: usize,
    latest: i64,
}

impl OffsetMap {
    /// A map that takes at most `load_factor` times the entries that fit into `bytes`; `key` should be secret.
    pub(super) fn new(bytes: u64, load_factor: f64, key: [u64; 2]) -> OffsetMap {
        // Kafka's is a Java array: at most 2 GiB.
        let slots = (bytes.min(i32::MAX as u64) / ENTRY_BYTES) as usize;
        let shards = if slots >= SHARDED_FROM_SLOTS { SHARDS } else { 1 };
        OffsetMap {
            key,
            shards: (0..shards).map(|_| Shard::default()).collect(),
            shard_slots_max: (slots / shards).max(1),
            count: 0,
            count_max: (slots as f64 * load_factor) as usize,
            latest: -1,
        }
    }

    /// The last offset that was noted, -1 if none.
    pub(super) fn latest(&self) -> i64 {
        self.latest
    }

    /// Says that everything up to `offset` was looked at.
    pub(super) fn set_latest(&mut self, offset: i64) {
        self.latest = offset;
    }

    /// No more keys fit.
    pub(super) fn is_full(&self) -> bool {
        self.count >= self.count_max
    }

    /// Share of the slots that is taken.
    pub(super) fn utilization(&self) -> f64 {
        self.count as f64 / (self.shard_slots_max * self.shards.len()) as f64
    }

    /// Notes `offset`, which must be greater than that of all notes before, for `key`.
    pub(super) fn put(&mut self, key: &[u8], offset: i64) {
        let hash = sip128(self.key, key);
        let slots_max = self.shard_slots_max;
        let shard = hash[1] as usize % self.shards.len();
        if let Some(shard) = self.shards.get_mut(shard) {
            self.count += usize::from(shard.put(Slot { hash, place: offset + 1 }, slots_max));
        }
        self.latest = offset;
    }

    /// The offset noted last for `key`, -1 if none.
    pub(super) fn get(&self, key: &[u8]) -> i64 {
        let hash = sip128(self.key, key);
        let shard = self.shards.get(hash[1] as usize % self.shards.len());
        shard.and_then(|shard| shard.find(hash)).map_or(-1, |slot| slot.place - 1)
    }
}

impl Shard {
    /// Whether the key is new.
    fn put(&mut self, slot: Slot, slots_max: usize) -> bool {
        let len = self.slots.len();
        // Half full at most, unless there is no more room; then it stays below what makes searches long. Keys are not
        // dealt out evenly to the last: a part that is full grows a little beyond its share.
        let limit = if len >= slots_max { len / 16 * 15 } else { len / 2 };
        if self.count >= limit {
            let wanted =
                if len >= slots_max { len + len / 8 + 16 } else { (len * 2).max(SLOTS_MIN).min(slots_max + 16) };
            self.grow(wanted);
        }
        let is_new = place(&mut self.slots, slot);
        self.count += usize::from(is_new);
        is_new
    }

    fn grow(&mut self, len: usize) {
        let mut slots = vec![Slot::default(); len];
        for slot in self.slots.iter().filter(|slot| slot.place != 0) {
            place(&mut slots, *slot);
        }
        self.slots = slots;
    }

    fn find(&self, hash: [u64; 2]) -> Option<&Slot> {
        let mut at = start(hash, self.slots.len());
        // There is always a free slot.
        loop {
            let slot = self.slots.get(at)?;
            if slot.place == 0 {
                return None;
            }
            if slot.hash == hash {
                return Some(slot);
            }
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
    }
}

fn start(hash: [u64; 2], len: usize) -> usize {
    ((u128::from(hash[0]) * len as u128) >> 64) as usize
}

/// Puts `new` into its slot; whether its key was not there.
fn place(slots: &mut [Slot], new: Slot) -> bool {
    let len = slots.len();
    let mut at = start(new.hash, len);
    while let Some(slot) = slots.get_mut(at) {
        if slot.place == 0 {
            *slot = new;
            return true;
        }
        if slot.hash == new.hash {
            slot.place = new.place;
            return false;
        }
        at = if at + 1 == len { 0 } else { at + 1 };
    }
    false
}

/// SipHash-1-3 with 128 bits of result (Aumasson, Bernstein).
fn sip128(key: [u64; 2], bytes: &[u8]) -> [u64; 2] {
    let mut state = Sip([
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d ^ 0xee,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ]);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state.absorb(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    state.absorb(u64::from_le_bytes(last) | (bytes.len() as u64) << 56);
    state.0[2] ^= 0xee;
    let low = state.finish();
    state.0[1] ^= 0xdd;
    [low, state.finish()]
}

struct Sip([u64; 4]);

impl Sip {
    #[inline(always)]
    fn absorb(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.0[0] ^= word;
    }

    #[inline(always)]
    fn finish(&mut self) -> u64 {
        self.round();
        self.round();
        self.round();
        self.0[0] ^ self.0[1] ^ self.0[2] ^ self.0[3]
    }

    #[inline(always)]
    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        c = c.wrapping_add(d);
        b = b.rotate_left(13) ^ a;
        d = d.rotate_left(16) ^ c;
        a = a.rotate_left(32);
        c = c.wrapping_add(b);
        a = a.wrapping_add(d);
        b = b.rotate_left(17) ^ c;
        d = d.rotate_left(21) ^ a;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const KEY: [u64; 2] = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];

    #[test]
    fn the_hash_is_siphash() {
        let bytes: Vec<u8> = (0..64).collect();
        // From another implementation, which has the published vectors of SipHash-2-4-128.
        for (len, hash) in [
            (0, [0xbea5_8827_b2bc_7ee7, 0x0130_30dd_6adb_62fd]),
            (1, [0xa8ed_d360_0437_6ffc, 0x63f0_2f2b_cc73_055e]),
            (7, [0xc3e0_aaf2_23b9_8410, 0x77ab_4808_c82e_2fa6]),
            (8, [0xb4da_e3d5_e1fe_12aa, 0x99c7_f935_ab16_4f72]),
            (63, [0x6f42_fe4e_e300_584c, 0xad60_52a7_0a6b_9f07]),
        ] {
            assert_eq!(sip128(KEY, &bytes[..len]), hash, "{len}");
        }
    }

    #[test]
    fn hashes_differ_wherever_bytes_or_keys_do() {
        let bytes: Vec<u8> = (0..64).collect();
        let mut seen = std::collections::BTreeSet::new();
        for len in 0..64 {
            assert!(seen.insert(sip128(KEY, &bytes[..len])));
            assert!(seen.insert(sip128([1, 2], &bytes[..len])));
            let mut other = bytes[..len].to_vec();
            for at in 0..len {
                other[at] ^= 0x80;
                assert!(seen.insert(sip128(KEY, &other)), "{len} {at}");
                other[at] ^= 0x80;
            }
        }
    }

    #[test]
    fn the_last_offset_of_each_key_is_found_at_every_size() {
        for (bytes, keys) in [(24 * 100, 90), (24 * 5000, 4500), (24 << 16, 58_000), (24 << 18, 100_000)] {
            let mut map = OffsetMap::new(bytes, 0.9, KEY);
            let mut expected = BTreeMap::new();
            let mut offset = 0;
            for round in 0..2 {
                for key in 0..keys {
                    if round == 1 && key % 3 == 0 {
                        continue;
                    }
                    let key = format!("key {key}");
                    assert!(!map.is_full() || round == 1);
                    map.put(key.as_bytes(), offset);
                    expected.insert(key, offset);
                    offset += 7;
                }
            }
            for (key, offset) in &expected {
                assert_eq!(map.get(key.as_bytes()), *offset);
            }
            assert_eq!(map.get(b"absent"), -1);
            assert_eq!(map.latest(), offset - 7);
            assert!(map.utilization() <= 0.91);
        }
    }

    #[test]
    fn it_is_full_where_kafkas_is() {
        let mut map = OffsetMap::new(24 * 10 + 23, 0.75, KEY);
        for offset in 0..7_i64 {
            assert!(!map.is_full());
            map.put(&offset.to_be_bytes(), offset);
        }
        assert!(map.is_full());
        assert_eq!(map.get(&3_i64.to_be_bytes()), 3);
    }
}
