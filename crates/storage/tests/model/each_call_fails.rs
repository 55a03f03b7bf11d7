//! Each operation is done again and again, its first, second, ... call to the disk failing, until one repetition makes
//! fewer calls than that. An operation either says that it failed and nothing of it shows, or it holds, whatever
//! becomes of the machine.

use milena_storage::disk::SimulatedDisk;

use crate::run::{Op, Run, State};

/// What follows the failure.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// The same process goes on.
    GoesOn,
    /// The process is killed and started again.
    Restarts,
    /// The machine loses power.
    LosesPower,
}

/// A history that leaves several segments, indexes on disk and in memory, a saved recovery point and an unflushed tail.
const HISTORY: [Op; 14] = [
    Op::Append(1, 3),
    Op::Append(2, 2),
    Op::Round,
    Op::Append(12, 3),
    Op::Append(12, 3),
    Op::Flush,
    Op::Append(12, 3),
    Op::Roll,
    Op::Append(3, 3),
    Op::Round,
    Op::Append(6, 3),
    Op::Append(1, 3),
    Op::Append(1, 3),
    Op::Append(1, 3),
];

fn prepared(seed: u64) -> Run {
    let mut run = Run::new(seed);
    for op in HISTORY {
        run.apply(op).unwrap();
    }
    run
}

/// How many calls were failed.
fn fail_each_call(op: Op, for_good: bool, then: Then) -> u64 {
    for at in 1.. {
        let mut run = prepared(at * 31 + u64::from(for_good));
        let call = run.disk.calls() + at;
        run.disk.fail_call(call, for_good);
        let outcome = run.apply(op);
        let is_reached = run.disk.calls() >= call;
        run.disk.fail_call(0, false);
        let what = format!("{op:?} with call {at} failing, for good {for_good}, then {then:?}: {outcome:?}");
        let mut candidates: Vec<State> = vec![run.state.clone()];
        candidates.extend(run.attempted.clone());
        let candidates: Vec<&State> = candidates.iter().collect();
        match then {
            Then::GoesOn => goes_on(run, &what),
            Then::Restarts => {
                let starts_anew = matches!(op, Op::StartAt(_));
                let kept = if outcome.is_ok()
                    || !starts_anew && run.attempted.as_ref().is_none_or(|after| after.end >= run.state.end)
                {
                    run.state.end
                } else {
                    run.durable
                };
                let disk = run.disk.clone();
                drop(run);
                let mut again = Run::open(&disk).unwrap().expect("the log is there");
                again.check(&candidates, kept, &what);
                again.state.end = again.log.log_end_offset().0;
                again.log.append_as_leader(&[], milena_types::LeaderEpoch(3), crate::run::NOW).unwrap();
            }
            Then::LosesPower => {
                let (disk, durable) = (run.disk.cut_power(), run.durable);
                match Run::open(&disk).unwrap() {
                    Some(again) => again.check(&candidates, durable, &what),
                    None => assert_eq!(durable, 0, "{what}"),
                }
            }
        }
        if !is_reached {
            return at - 1;
        }
        assert!(at < 1000, "{op:?} does not end");
    }
    0
}

/// Unless the log says that it is failed, it is as if the operation had not been asked for, and takes more.
fn goes_on(mut run: Run, what: &str) {
    if run.log.is_failed() {
        run.apply(Op::Append(1, 1)).unwrap_err();
        return;
    }
    // A truncation may be done and its recovery point not be saved.
    if let Some(after) = run.attempted.take().filter(|after| after.end == run.log.log_end_offset().0) {
        run.state = after;
    }
    run.state.start = run.log.log_start_offset().0;
    run.check_equal(what);
    run.apply(Op::Append(1, 3)).unwrap();
    run.apply(Op::Roll).unwrap();
    run.apply(Op::Append(2, 3)).unwrap();
    run.apply(Op::Flush).unwrap();
    run.check_equal(what);
    let durable = run.durable;
    let state = run.state.clone();
    let again = Run::open(&run.disk.cut_power()).unwrap().expect("the log was flushed");
    again.check(&[&state], durable, what);
}

fn check(op: Op, calls_min: u64) {
    for for_good in [false, true] {
        for then in [Then::GoesOn, Then::Restarts, Then::LosesPower] {
            let calls = fail_each_call(op, for_good, then);
            assert!(calls >= calls_min, "{op:?} makes only {calls} calls");
        }
    }
}

#[test]
fn an_append_that_fails_leaves_nothing_and_one_that_rolls_neither() {
    check(Op::Append(1, 3), 1);
    check(Op::Append(30, 3), 10);
}

#[test]
fn a_roll_that_fails_changes_nothing() {
    check(Op::Roll, 5);
}

#[test]
fn a_flush_or_a_round_that_fails_loses_nothing() {
    check(Op::Flush, 2);
    check(Op::Round, 5);
}

#[test]
fn a_truncation_that_fails_leaves_the_old_or_the_new_end() {
    check(Op::TruncateTo(100), 5);
    check(Op::TruncateTo(7), 5);
    check(Op::StartAt(1000), 10);
}

#[test]
fn deleting_records_that_fails_leaves_no_gap() {
    check(Op::AdvanceStart(50), 0);
    check(Op::DeleteOld, 5);
}

#[test]
fn removing_deleted_files_is_tried_again_after_a_failure() {
    for at in 1.. {
        let mut run = prepared(at);
        run.apply(Op::DeleteOld).unwrap();
        let call = run.disk.calls() + at;
        run.disk.fail_call(call, false);
        let outcome = run.apply(Op::RemoveDeleted);
        let is_reached = run.disk.calls() >= call;
        run.disk.fail_call(0, false);
        assert_eq!(outcome.is_err(), is_reached, "call {at}");
        run.apply(Op::RemoveDeleted).unwrap();
        let names = milena_storage::disk::Disk::list(&run.disk, run.log.directory()).unwrap();
        assert!(names.iter().all(|entry| !entry.name.ends_with(".deleted")), "call {at}: {names:?}");
        run.check_equal("after removal");
        if !is_reached {
            assert!(at > 5, "only {at} calls");
            return;
        }
    }
}

#[test]
fn a_clean_end_that_fails_leaves_no_mark_of_one_or_the_whole_log() {
    for for_good in [false, true] {
        for then in [Then::Restarts, Then::LosesPower] {
            assert!(fail_each_call(Op::Close, for_good, then) >= 10);
        }
    }
}

#[test]
fn opening_that_fails_can_be_tried_again() {
    for seed in 0..6 {
        for at in 1.. {
            let run = prepared(seed);
            let (state, durable) = (run.state.clone(), run.durable);
            let disk = run.disk.cut_power();
            disk.fail_call(at, false);
            let outcome = Run::open(&disk);
            let is_reached = disk.calls() >= at;
            disk.fail_call(0, false);
            drop(outcome);
            let again = Run::open(&disk.cut_power()).unwrap().expect("the log was flushed");
            again.check(&[&state], durable, &format!("opening, seed {seed}, call {at}"));
            if !is_reached {
                assert!(at > 20, "only {at} calls");
                break;
            }
        }
    }
}

#[test]
fn making_a_log_that_fails_can_be_tried_again() {
    for at in 1.. {
        let disk = SimulatedDisk::new(at);
        disk.fail_call(at, false);
        let outcome = Run::create(&disk);
        let is_reached = disk.calls() >= at;
        disk.fail_call(0, false);
        assert_eq!(outcome.is_err(), is_reached, "call {at}");
        drop(outcome);
        if let Some(mut again) = Run::open(&disk).unwrap() {
            again.apply(Op::Append(1, 3)).unwrap();
            again.check_equal(&format!("made with call {at} failing"));
        }
        if !is_reached {
            assert!(at > 5, "only {at} calls");
            return;
        }
    }
}
