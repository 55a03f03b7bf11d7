//! Random histories, a power cut, another history on what is left, another cut; in the midst of some the process is killed
//! and starts again. What was durable is there, and what is there is a prefix of what was appended.

use crate::run::{Op, Run};

const SEEDS: u64 = 2000;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as i64) % bound.max(1)
    }

    fn op(&mut self, run: &Run) -> Op {
        let (start, end) = (run.state.start, run.state.end);
        match self.below(27) {
            0 | 1 => Op::Flush,
            2 | 3 => Op::Round,
            4 => Op::Roll,
            // To the start itself it would forget producers whose records come back: the start is not saved here.
            5 if end - start > 16 => Op::TruncateTo(start + 8 + self.below(end - start - 8)),
            6 => Op::AdvanceStart(start + self.below(run.durable - start)),
            7 => Op::DeleteOld,
            8 => Op::RemoveDeleted,
            9 if self.below(6) == 0 => Op::StartAt(end + self.below(20)),
            10 | 11 => Op::Prepare,
            12 | 13 => Op::Finish(self.below(3) as usize),
            14 if self.below(2) == 0 => Op::NewEpoch,
            _ => Op::Append(1 + self.below(6), 1 + self.below(4)),
        }
    }
}

fn live(seed: u64) {
    let mut random = Random(seed * 7919 + 1);
    let mut run = Run::new(seed);
    for life in 0..3 {
        let mut history = Vec::new();
        for _ in 0..random.below(25) {
            if random.below(20) == 0 {
                let (before, what) = (run.state.clone(), format!("seed {seed}, life {life}, killed after {history:?}"));
                run = run.after_kill();
                run.check(&[&before], before.end, &what);
                history.clear();
            }
            let op = random.op(&run);
            history.push(op);
            run.apply(op).unwrap();
        }
        let what = format!("seed {seed}, life {life}, {history:?}");
        run.check_equal(&what);
        let (state, durable) = (run.state.clone(), run.durable);
        let Some(again) = run.after_power_cut() else {
            assert_eq!(durable, 0, "{what}: the log is gone");
            return;
        };
        again.check(&[&state], durable, &what);
        run = again;
    }
}

#[test]
fn what_was_durable_survives_every_power_cut() {
    let threads = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    std::thread::scope(|scope| {
        for first in 0..threads {
            scope.spawn(move || (first..SEEDS).step_by(threads as usize).for_each(live));
        }
    });
}

/// For a seed that failed: put it here.
#[test]
fn one_seed() {
    live(1);
}
