//! With `MILENA_KAFKA_JARS` (a folder with the jars of Kafka 4.3.1) Kafka's own assignors are given the same groups, in
//! the same order of members and topics. Their answers must be ours to the partition.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use milena_coordinator::assignor::{Assignor, GroupAssignment, TopicPartitions};
use milena_types::Uuid;

use crate::model::Model;

/// What the oracle prints for these lines of input; `None` without the jars.
fn ask(mode: &str, input: String) -> Option<String> {
    let jars = std::env::var("MILENA_KAFKA_JARS").ok()?;
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/oracle-groups/GroupOracle.java");
    let mut java = Command::new("java")
        .args(["-Xmx512m", "-cp", &format!("{jars}/*"), source, mode])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = java.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = java.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    Some(String::from_utf8(output.stdout).unwrap())
}

fn number(topic: Uuid) -> u128 {
    u128::from_be_bytes(topic.0)
}

fn joined(parts: impl Iterator<Item = String>, between: &str) -> String {
    parts.collect::<Vec<_>>().join(between)
}

fn assignment_text(assignment: &TopicPartitions) -> String {
    let topics = assignment.iter().map(|(topic, partitions)| {
        format!("{}={}", number(*topic), joined(partitions.iter().map(i32::to_string), "."))
    });
    joined(topics, ",")
}

fn question(model: &Model, assignor: Assignor) -> String {
    let kind = if model.is_homogeneous { "homogeneous" } else { "heterogeneous" };
    let counts = joined(model.counts.iter().map(|(topic, count)| format!("{}:{count}", number(*topic))), ",");
    let members = model.members.values().map(|member| {
        let topics = joined(member.subscribed_topic_ids.iter().map(|topic| number(*topic).to_string()), ",");
        let instance = member.instance_id.as_deref().unwrap_or("");
        format!("{}|{instance}|{topics}|{}", member.member_id, assignment_text(&member.assignment))
    });
    format!("{}\t{kind}\t{counts}\t{}\n", assignor.name(), joined(members, ";"))
}

fn answer(model: &Model, target: &GroupAssignment) -> String {
    let members = model.members.values().zip(target);
    joined(members.map(|(member, target)| format!("{}|{}", member.member_id, assignment_text(target))), ";")
}

#[test]
fn kafkas_assignors_give_the_same_target() {
    let (mut questions, mut answers) = (String::new(), Vec::new());
    for seed in 0..500 {
        for assignor in Assignor::ALL {
            let mut model = Model::new(seed);
            for _ in 0..8 {
                questions.push_str(&question(&model, assignor));
                let target = model.assign(assignor);
                answers.push(answer(&model, &target));
                model.adopt(target);
                model.change();
            }
        }
    }
    let Some(theirs) = ask("assign", questions.clone()) else {
        eprintln!("skipped: MILENA_KAFKA_JARS names no folder with Kafka's jars");
        return;
    };
    assert_eq!(theirs.lines().count(), answers.len());
    for ((question, theirs), ours) in questions.lines().zip(theirs.lines()).zip(&answers) {
        assert_eq!(ours, theirs, "{question}");
    }
    println!("{} groups, equal targets", answers.len());
}
