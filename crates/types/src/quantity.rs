//! Newtypes over the integers of the wire. The inner value is public: these types say what a number means, they do
//! not restrict it; negative values are Kafka's own markers and are named here.

use std::fmt;
use std::ops::{Add, Sub};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident($inner:ty), none: $none:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $inner);

        impl $name {
            /// Kafka's marker for "no value".
            pub const NONE: Self = Self($none);

            /// The inner integer.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }

            /// Whether this is not the marker for "no value" nor any other negative number.
            #[must_use]
            pub const fn is_some(self) -> bool {
                self.0 >= 0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }

        impl From<$name> for $inner {
            fn from(value: $name) -> $inner {
                value.0
            }
        }
    };
}

quantity!(
    /// A place in a log; the first record of a log has offset 0 and offsets are never used twice.
    Offset(i64), none: -1);
quantity!(
    /// Counts the leaders of a partition or of the quorum (KIP-101); -1 when not known.
    LeaderEpoch(i32), none: -1);
quantity!(
    /// A node id, of a broker or a controller (`node.id`).
    BrokerId(i32), none: -1);
quantity!(
    /// The 0-based number of a partition in its topic.
    PartitionIndex(i32), none: -1);
quantity!(
    /// The id of an idempotent or transactional producer (KIP-98).
    ProducerId(i64), none: -1);
quantity!(
    /// Fences older incarnations of a producer id (KIP-98).
    ProducerEpoch(i16), none: -1);
quantity!(
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64), none: -1);

impl Add<i64> for Offset {
    type Output = Offset;
    fn add(self, count: i64) -> Offset {
        Offset(self.0 + count)
    }
}

impl Sub<Offset> for Offset {
    type Output = i64;
    fn sub(self, other: Offset) -> i64 {
        self.0 - other.0
    }
}
