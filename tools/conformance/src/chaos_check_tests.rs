//! Histories with one thing wrong in each, and some in which nothing is.

use super::{Sample, Story, findings};
use crate::chaos_log::{Diary, lines};

fn diary(member: &str, text: &str) -> Diary {
    Diary { group: "g".to_owned(), member: member.to_owned(), is_static: false, lines: lines(text) }
}

fn sample(offset: i64, asked: i64, answered: i64) -> Sample {
    Sample { group: "g".to_owned(), partition: 0, offset, asked, answered }
}

/// Two members read four records of a partition one after the other, and commit.
fn good() -> Story {
    let first =
        "1 start\n2 owns 1 0\n3 read 0 0 0\n4 read 0 1 1\n5 commit 0 2\n6 committed 0 2\n7 read 0 2 2\n9 owns 1 -\n";
    let second = "8 start\n10 owns 2 0\n11 read 0 2 2\n12 read 0 3 3\n13 commit 0 4\n15 committed 0 4\n";
    let writer = "1 acknowledged 0 0 0\n1 acknowledged 0 1 1\n1 acknowledged 0 2 2\n1 acknowledged 0 3 3\n";
    Story {
        diaries: vec![diary("a", first), diary("b", second)],
        // One that was asked while a commit was under way may see either.
        samples: vec![sample(2, 7, 8), sample(2, 13, 14), sample(4, 14, 16), sample(4, 17, 18)],
        writer: diary("writer", writer),
    }
}

fn found(change: impl FnOnce(&mut Story)) -> String {
    let mut story = good();
    change(&mut story);
    findings(&story).join("\n")
}

/// What a third member did besides.
fn with(text: &str) -> String {
    found(|story| story.diaries.push(diary("c", text)))
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(found(|_| {}), "");
}

#[test]
fn two_owners_of_a_partition_in_one_generation_are_found() {
    assert_eq!(with("9 start\n10 owns 2 0,1\n"), "g: b/1 and c/1 own 0 in generation 2");
}

#[test]
fn a_dynamic_member_that_comes_again_is_another_owner_and_a_static_one_is_the_same() {
    let text = "20 start\n21 owns 3 0\n22 start\n23 owns 3 0\n";
    assert_eq!(with(text), "g: c/1 and c/2 own 0 in generation 3");
    assert_eq!(found(|story| story.diaries.push(Diary { is_static: true, ..diary("c", text) })), "");
}

#[test]
fn who_has_no_generation_owns_nothing() {
    assert_eq!(with("20 start\n21 owns -1 0\n22 owns 0 0\n"), "");
}

#[test]
fn a_commit_that_goes_back_is_found() {
    let found = with("15 start\n16 commit 0 3\n17 committed 0 3\n");
    assert_eq!(found, "g-0: c has 3 at 16, b had 4 at 15");
}

#[test]
fn a_commit_beside_another_is_in_no_order_with_it() {
    assert_eq!(with("13 start\n14 commit 0 3\n17 committed 0 3\n"), "");
}

#[test]
fn a_commit_that_was_not_answered_says_nothing() {
    assert_eq!(with("15 start\n16 commit 0 3\n"), "");
}

#[test]
fn a_committed_offset_that_an_administrator_sees_go_back_is_found() {
    let found = found(|story| story.samples.push(sample(2, 19, 20)));
    assert_eq!(found, "g-0: the administrator has 2 at 19, b had 4 at 15");
}

#[test]
fn a_record_that_was_skipped_by_a_commit_is_found() {
    let text = "8 start\n10 owns 2 0\n12 read 0 3 3\n13 commit 0 4\n15 committed 0 4\n20 read 0 2 2\n";
    let found = found(|story| {
        story.diaries = vec![story.diaries.swap_remove(0), diary("b", text)];
        if let Some(first) = story.diaries.first_mut() {
            first.lines.retain(|line| line.at != 7);
        }
        story.samples.clear();
    });
    assert_eq!(found, "g-0: 4 committed at 15 (b), not all before it was read by then");
}

#[test]
fn a_commit_beyond_what_is_there_is_found() {
    let found = with("20 start\n21 commit 0 9\n22 committed 0 9\n");
    assert_eq!(found, "g-0: 9 committed at 22 (c), not all before it was read by then");
}

#[test]
fn a_record_that_was_never_read_is_found() {
    let found = found(|story| story.writer.lines.extend(lines("2 acknowledged 0 4 4\n")));
    assert_eq!(found, "g: 0@4 was never read");
}

#[test]
fn a_record_that_is_not_the_one_written_there_is_found() {
    assert_eq!(with("9 start\n10 read 0 2 7\n"), "g: c read 7 at 0@2");
    let found = found(|story| story.writer.lines.extend(lines("2 acknowledged 0 3 5\n")));
    assert_eq!(found, "5 was acknowledged at 0@3");
}
