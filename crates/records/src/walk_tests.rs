//! The quick way over a record against the slow one.

use super::*;
use crate::varint::{put_varint, put_varlong};

struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// Small and large, and around the widths of varints.
    fn number(&mut self) -> i32 {
        let edge = [0, 63, 8191, 1 << 20, i32::MAX as u64][self.below(5) as usize];
        let number = (edge + self.below(3)) as i32;
        if self.below(4) == 0 { number.wrapping_neg() } else { number }
    }
}

/// A record that is right or nearly so.
fn record(numbers: &mut Numbers) -> Vec<u8> {
    let mut body = vec![numbers.below(256) as u8];
    put_varlong(&mut body, i64::from(numbers.number()) << [0, 0, 0, 30][numbers.below(4) as usize]);
    put_varint(&mut body, numbers.number());
    for limit in [6, 300] {
        let len = numbers.below(limit) as i32 - 1;
        put_varint(&mut body, if numbers.below(30) == 0 { numbers.number() } else { len });
        body.extend((0..len.max(0)).map(|at| at as u8));
    }
    let headers = if numbers.below(3) == 0 { numbers.below(3) as i32 } else { 0 };
    put_varint(&mut body, if numbers.below(30) == 0 { numbers.number() } else { headers });
    for _ in 0..headers {
        for field in [1, numbers.below(4) as i32 - 1] {
            put_varint(&mut body, field);
            body.extend((0..field.max(0)).map(|_| b'h'));
        }
    }
    let mut record = Vec::new();
    put_varint(&mut record, if numbers.below(10) == 0 { numbers.number() } else { body.len() as i32 });
    record.extend(body);
    if numbers.below(4) == 0 {
        let at = numbers.below(record.len() as u64) as usize;
        record[at] ^= 1 << numbers.below(8);
    }
    if numbers.below(8) == 0 {
        record.truncate(numbers.below(record.len() as u64 + 1) as usize);
    }
    record.extend((0..numbers.below(20)).map(|at| (at * 13) as u8));
    record
}

#[test]
fn what_the_quick_way_says_the_slow_way_says_too() {
    let mut numbers = Numbers(7);
    let mut known = [0; 2];
    for _ in 0..200_000 {
        let bytes = record(&mut numbers);
        let Some(quick) = quick_record(&bytes) else { continue };
        let mut input = SliceInput::new(&bytes);
        assert_eq!(skip_record(&mut input), Ok(quick.shape), "{bytes:?}");
        assert_eq!(input.position(), quick.len, "{bytes:?}");
        let mut input = SliceInput::new(&bytes);
        let checked = check_record(&mut input);
        assert_eq!(checked.ok(), (quick.len == quick.declared_len).then_some(quick.shape), "{bytes:?}");
        known[usize::from(quick.len == quick.declared_len)] += 1;
    }
    assert!(known[0] > 2000 && known[1] > 30_000, "the quick way knew {known:?}");
}
