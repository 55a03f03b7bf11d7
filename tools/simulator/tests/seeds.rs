//! Seeds that stay: those that once failed, and the proof that a seed says all. Many more run as `cargo xtask sim`.

use milena_simulator::{Planted, run};

/// What was wrong in these when they failed first.
const FAILED_ONCE: [(u64, &str); 23] = [
    (4, "a follower that had led without records was told for ever that the logs part"),
    (7, "a controller that led no more decided to fence a broker again and again"),
    (16, "a replica that a reassignment had removed stayed eligible"),
    (13_306, "an epoch that was cut off came back with a crash, and followers were told for ever that the logs part"),
    (24_424, "a log that was cut forgot its producers with a clean restart, and a record was written twice"),
    (36_893, "the simulated disk gave names in a deleted directory to the next one of its path"),
    (14_094, "a broker whose registration a late one displaced stayed fenced"),
    (32_117, "a late copy of a request for a larger ISR was granted after another copy had been refused"),
    (60_348, "metadata that had been on their way for long ended the doubt about a lease"),
    (
        78_110,
        "the first answer a broker got began a lease, though an earlier one was lost and it had been fenced since",
    ),
    (105_128, "the late answer to a fetch of metadata that was given up passed for that of the next one"),
    (61_145, "a simulated follower cut its log before it lowered the recovery point, and its disk failed between"),
    (75_161, "the same, at another place"),
    (139_185, "names of files that a killed process had not synced were taken for durable, and the power went"),
    (157_137, "a flush that another one had overtaken wrote older epochs over newer ones"),
    (162_358, "who was removed and added again in one go counted as caught up, though its log was empty"),
    (149_392, "nobody was told where a leader listens that led until its removal was committed"),
    (183_670, "a simulated replica's new log inherited the recovery point of the one that was removed"),
    (201_017, "a broker led before it was registered, and an ISR change its last process had asked for was granted"),
    (224_582, "the simulator took a partition for healed whose leader did not know that it leads"),
    (
        239_980,
        "min.insync.replicas was raised, and who was eligible forgotten, when the only one in sync had lost its power",
    ),
    (174_471, "the same, and it was elected"),
    (38_183, "a broker that was told to stop before it served ended at once, unclean, and that was taken for clean"),
];

#[test]
fn seeds_that_failed_once_pass() {
    for (seed, what) in FAILED_ONCE {
        let ran = run(seed, None, false);
        assert_eq!(ran.failure, None, "seed {seed} failed when {what}");
    }
}

#[test]
fn a_seed_replays_exactly() {
    let (first, again, other) = (run(8, None, false), run(8, None, false), run(9, None, false));
    assert_eq!((first.trace, first.events), (again.trace, again.events));
    assert_ne!(first.trace, other.trace);
    let lines = |ran: &milena_simulator::Ran| ran.history.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(lines(&first), lines(&again));
    assert!(!first.history.is_empty());
}

#[test]
fn what_is_acknowledged_too_early_is_found() {
    let found = (0..20).find_map(|seed| run(seed, Some(Planted::AcknowledgesAtOnce), false).failure);
    assert!(found.unwrap().contains("acknowledged"));
}
