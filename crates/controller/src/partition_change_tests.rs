//! One change of a partition at a time: who leads then, who is eligible, what the record says.

use milena_types::LeaderEpoch;

use super::*;

fn brokers(ids: &[i32]) -> Box<[BrokerId]> {
    ids.iter().map(|id| BrokerId(*id)).collect()
}

fn partition(leader: i32, isr: &[i32]) -> Partition {
    Partition {
        replicas: brokers(&[1, 2, 3]),
        directories: vec![Uuid([1; 16]); 3].into(),
        isr: brokers(isr),
        leader: BrokerId(leader),
        leader_epoch: LeaderEpoch(4),
        ..Partition::default()
    }
}

fn change(
    partition: &Partition,
    elr: bool,
    alive: &[i32],
    set: impl FnOnce(&mut PartitionChange<'_>),
) -> Option<PartitionChangeRecord> {
    let can_lead = |_: &Partition, broker: BrokerId| alive.contains(&broker.0);
    let context = ChangeContext {
        version: MetadataVersion::LATEST,
        elr_enabled: elr,
        can_lead: &can_lead,
        default_directory: &|_| Uuid::ZERO,
    };
    let mut change = PartitionChange::new(context, partition, 2);
    set(&mut change);
    change.record(Uuid([9; 16]), PartitionIndex(0)).map(|(record, version)| {
        assert_eq!(version, 2);
        match record {
            MetadataRecord::PartitionChange(record) => record,
            other => panic!("{other:?}"),
        }
    })
}

#[test]
fn nothing_to_change_makes_no_record() {
    assert_eq!(change(&partition(1, &[1, 2]), true, &[1, 2, 3], |_| {}), None);
}

#[test]
fn a_lost_leader_is_followed_by_the_next_in_sync_replica() {
    let record = change(&partition(1, &[1, 2, 3]), false, &[2, 3], |it| it.isr = brokers(&[2, 3]).to_vec()).unwrap();
    assert_eq!((record.leader, record.isr), (2, Some(vec![2, 3])));
}

#[test]
fn without_elr_the_last_isr_member_stays_and_the_leader_is_none() {
    let record = change(&partition(1, &[1]), false, &[2, 3], |it| it.isr = Vec::new()).unwrap();
    assert_eq!((record.leader, record.isr), (-1, None));
}

#[test]
fn with_elr_replicas_that_leave_a_small_isr_stay_eligible() {
    let record = change(&partition(1, &[1, 2]), true, &[2, 3], |it| it.isr = brokers(&[2]).to_vec()).unwrap();
    assert_eq!(record.leader, 2);
    assert_eq!((record.isr, record.eligible_leader_replicas), (Some(vec![2]), Some(vec![1])));
}

#[test]
fn a_replica_that_a_reassignment_removes_is_not_eligible_any_more() {
    let before = Partition {
        removing_replicas: brokers(&[3]),
        adding_replicas: brokers(&[4]),
        replicas: brokers(&[1, 2, 4, 3]),
        directories: vec![Uuid([1; 16]); 4].into(),
        ..partition(3, &[3])
    };
    let record = change(&before, true, &[1, 2, 3, 4], |it| it.isr = brokers(&[3, 4]).to_vec()).unwrap();
    assert_eq!((record.leader, record.isr, record.replicas), (4, Some(vec![4]), Some(vec![1, 2, 4])));
    assert_eq!(record.eligible_leader_replicas, None, "3 was in sync and keeps no log");
}

#[test]
fn the_last_leader_is_remembered_and_elected_when_it_returns() {
    let record = change(&partition(1, &[1]), true, &[], |it| {
        it.isr = Vec::new();
        it.uncleanly_restarted = Some(BrokerId(1));
    })
    .unwrap();
    assert_eq!((record.leader, record.isr.as_deref()), (-1, Some([].as_slice())));
    assert_eq!(
        (record.eligible_leader_replicas.as_deref(), record.last_known_elr.as_deref()),
        (None, Some([1].as_slice()))
    );
    let lost = partition(1, &[1]).merge(&record);
    let record = change(&lost, true, &[1, 2, 3], |_| {}).unwrap();
    assert_eq!((record.leader, record.isr, record.leader_recovery_state), (1, Some(vec![1]), 1));
    assert_eq!(record.last_known_elr, Some(vec![]));
}

#[test]
fn the_last_in_sync_replica_is_remembered_when_it_led_no_more() {
    let leaving = partition(-1, &[1]);
    let record = change(&leaving, true, &[], |it| it.isr = Vec::new()).unwrap();
    assert_eq!((record.isr.as_deref(), record.last_known_elr.as_deref()), (Some([].as_slice()), Some([1].as_slice())));
    let eligible = leaving.merge(&record);
    let record = change(&eligible, true, &[], |it| it.uncleanly_restarted = Some(BrokerId(1))).unwrap();
    let lost = eligible.merge(&record);
    assert!(lost.eligible_leader_replicas.is_empty());
    let record = change(&lost, true, &[1], |_| {}).unwrap();
    assert_eq!((record.leader, record.isr, record.leader_recovery_state), (1, Some(vec![1]), 1));
}

#[test]
fn an_unclean_election_takes_any_replica_that_is_alive() {
    let lost = partition(-1, &[1]);
    assert_eq!(change(&lost, false, &[3], |_| {}), None);
    let record = change(&lost, false, &[3], |it| it.election = Election::Unclean).unwrap();
    assert_eq!((record.leader, record.isr, record.leader_recovery_state), (3, Some(vec![3]), 1));
}
