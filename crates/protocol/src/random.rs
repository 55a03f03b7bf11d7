//! Random messages for tests and fuzzing, behind feature `random`: every structure can fill itself with values that a
//! given version carries. The source is seeded, so that a failure can be run again.

use bytes::Bytes;
use milena_types::Uuid;

use crate::{DecodeError, EncodeError, Message, RawTaggedField, Reader, Text, Writer};

/// A seeded source (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

/// Structures that fill themselves.
pub trait RandomFill {
    /// Values for every field that `version` has; the others keep their defaults.
    fn random_fill(random: &mut Random, version: i16) -> Self;
}

/// One message of the schemas, without its type.
#[derive(Debug)]
pub struct MessageEntry {
    /// Kafka's name.
    pub name: &'static str,
    /// `request`, `response`, `header`, `data`, `metadata`, `coordinator-key` or `coordinator-value`.
    pub kind: &'static str,
    /// The API key or record type.
    pub api_key: Option<i16>,
    /// The oldest version.
    pub min_version: i16,
    /// The newest version.
    pub max_version: i16,
    /// Decodes bytes and encodes what was read.
    pub recode: fn(Bytes, i16) -> Result<Bytes, RecodeError>,
    /// The bytes of a message with all its defaults.
    pub blank: fn(i16) -> Result<Bytes, EncodeError>,
    /// The bytes of a random message.
    pub random: fn(&mut Random, i16) -> Result<Bytes, EncodeError>,
}

/// Why bytes did not survive decoding and encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecodeError {
    /// They do not decode.
    Decode(DecodeError),
    /// What was decoded does not encode.
    Encode(EncodeError),
}

fn recode<M: Message>(bytes: Bytes, version: i16) -> Result<Bytes, RecodeError> {
    let mut reader = Reader::new(bytes);
    let message = M::decode(&mut reader, version).map_err(RecodeError::Decode)?;
    if !reader.is_empty() {
        return Err(RecodeError::Decode(DecodeError::TrailingBytes { count: reader.remaining() }));
    }
    let mut writer = Writer::new();
    message.encode(&mut writer, version).map_err(RecodeError::Encode)?;
    writer.into_bytes().map_err(RecodeError::Encode)
}

fn blank_bytes<M: Message>(version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    M::default().encode(&mut writer, version)?;
    writer.into_bytes()
}

fn random_bytes<M: Message + RandomFill>(random: &mut Random, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    M::random_fill(random, version).encode(&mut writer, version)?;
    writer.into_bytes()
}

impl Random {
    /// Equal seeds give equal values.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// True once in `bound` times.
    pub fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    /// The number of elements of an array.
    pub fn count(&mut self) -> usize {
        self.below(4) as usize
    }

    /// Numbers of all magnitudes, both signs.
    fn number(&mut self) -> u64 {
        let shift = self.below(64);
        let magnitude = self.next_u64() >> shift;
        if self.one_in(2) { magnitude } else { magnitude.wrapping_neg() }
    }

    fn bool_value(&mut self) -> bool {
        self.one_in(2)
    }

    fn i8_value(&mut self) -> i8 {
        self.number() as i8
    }

    fn i16_value(&mut self) -> i16 {
        self.number() as i16
    }

    fn u16_value(&mut self) -> u16 {
        self.number() as u16
    }

    fn i32_value(&mut self) -> i32 {
        self.number() as i32
    }

    fn u32_value(&mut self) -> u32 {
        self.number() as u32
    }

    fn i64_value(&mut self) -> i64 {
        self.number() as i64
    }

    fn f64_value(&mut self) -> f64 {
        self.i32_value() as f64 / 1024.0
    }

    fn uuid_value(&mut self) -> Uuid {
        Uuid(((u128::from(self.next_u64()) << 64) | u128::from(self.next_u64())).to_be_bytes())
    }

    fn length(&mut self) -> u64 {
        match self.below(16) {
            0 => 0,
            1 => self.below(400),
            _ => self.below(12),
        }
    }

    fn text(&mut self) -> Text {
        let length = self.length();
        (0..length)
            .map(|_| match self.below(8) {
                0 => 'é',
                1 => '水',
                2 => '🦀',
                letter => char::from(b'a' + letter as u8),
            })
            .collect::<String>()
            .into()
    }

    fn bytes(&mut self) -> Bytes {
        let length = if self.one_in(32) { 3000 } else { self.length() };
        (0..length).map(|_| self.next_u64() as u8).collect::<Vec<_>>().into()
    }

    fn unknown_tagged_fields(&mut self) -> Vec<RawTaggedField> {
        if !self.one_in(4) {
            return Vec::new();
        }
        let count = 1 + self.below(2) as u32;
        (0..count).map(|at| RawTaggedField { tag: 900 + at * 90_000, data: self.bytes() }).collect()
    }
}

pub use generated::MESSAGES;

mod generated {
    //! One impl a structure, and the table.
    #![allow(clippy::all, unused_variables, reason = "generated code keeps one shape for all schemas")]

    use super::{MessageEntry, Random, RandomFill, blank_bytes, random_bytes, recode};
    use crate::Records;

    include!(concat!(env!("OUT_DIR"), "/random.rs"));
}
