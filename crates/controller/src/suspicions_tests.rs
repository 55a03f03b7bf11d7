//! From a lost connection to a fenced broker, and everything that keeps it from being one.

use milena_protocol::messages::BrokerHeartbeatRequest;
use milena_types::Offset;

use super::*;
use crate::controller_tests::{Host, assigned};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn host() -> Host {
    let mut host = Host::with_brokers(3);
    host.create(vec![assigned("t", &[(0, &[1, 2, 3])])]);
    host
}

fn leader(host: &Host) -> i32 {
    let topic = host.controller.image().topics.named("t").unwrap();
    topic.partition(milena_types::PartitionIndex(0)).unwrap().leader.0
}

/// Answers every probe that is due at `at`; whether somebody was fenced.
fn probed(host: &mut Host, outcome: Probed, at: Duration) -> bool {
    let mut fenced = false;
    for probe in host.controller.due_probes(at) {
        let decision = host.controller.decide_probed(probe.broker, probe.broker_epoch, outcome, at);
        fenced |= decision.response;
        host.append(decision.records);
    }
    fenced
}

#[test]
fn a_lost_connection_and_two_refusals_fence_a_broker_at_once() {
    let mut host = host();
    let epoch = host.epoch(1);
    host.controller.suspect(BrokerId(1), epoch, ms(1000));
    assert!(!probed(&mut host, Probed::AllRefused, ms(1000)));
    assert_eq!((leader(&host), host.controller.due_probes(ms(1001)).len()), (1, 0), "one refusal is not enough");
    assert!(probed(&mut host, Probed::AllRefused, ms(1040)));
    assert_eq!(leader(&host), 2);
    assert!(host.controller.image().cluster.broker(BrokerId(1)).unwrap().is_fenced);
}

#[test]
fn a_hint_alone_fences_nobody() {
    let mut host = host();
    let epoch = host.epoch(1);
    host.controller.suspect(BrokerId(1), epoch, ms(1000));
    let mut looks = 0;
    for at in (1000..6000).step_by(10) {
        looks += host.controller.due_probes(ms(at)).iter().filter(|probe| probe.broker == BrokerId(1)).count();
        let decision = host.controller.decide_probed(BrokerId(1), epoch, Probed::NotSo, ms(at));
        assert!(decision.records.is_empty());
    }
    assert_eq!((leader(&host), looks), (1, 6), "it is looked at for a while, and then forgotten");
}

#[test]
fn a_heartbeat_takes_the_hint_away() {
    let mut host = host();
    let epoch = host.epoch(1);
    host.controller.suspect(BrokerId(1), epoch, ms(1000));
    assert!(!probed(&mut host, Probed::AllRefused, ms(1000)));
    let under_way = host.controller.due_probes(ms(1040));
    let beat = BrokerHeartbeatRequest { broker_id: 1, broker_epoch: epoch, ..BrokerHeartbeatRequest::default() };
    assert!(host.controller.decide_broker_heartbeat(&beat, Offset(99), ms(1050)).response.is_ok());
    let late = host.controller.decide_probed(under_way[0].broker, epoch, Probed::AllRefused, ms(1060));
    assert!(late.records.is_empty() && host.controller.due_probes(ms(5000)).is_empty());
}

#[test]
fn what_was_meant_for_another_incarnation_counts_for_nothing() {
    let mut host = host();
    let epoch = host.epoch(1);
    host.controller.suspect(BrokerId(1), epoch - 1, ms(1000));
    host.controller.suspect(BrokerId(9), 1, ms(1000));
    assert!(host.controller.due_probes(ms(1000)).is_empty());
}

#[test]
fn a_new_controller_looks_who_is_there() {
    let mut host = host();
    host.controller.activate(ms(1000));
    assert!(host.controller.due_probes(ms(1099)).is_empty());
    let looked_at: Vec<i32> = host.controller.due_probes(ms(1100)).iter().map(|probe| probe.broker.0).collect();
    let own = host.controller.settings().node_id.0;
    assert_eq!(looked_at, [1, 2, 3].into_iter().filter(|id| *id != own).collect::<Vec<_>>());
}
