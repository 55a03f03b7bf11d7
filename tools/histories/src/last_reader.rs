//! Who read everything to the end must have seen what anybody was told or saw.

use std::collections::BTreeSet;

use crate::operation::{Operation, Outcome, What};

/// What was acknowledged, or read by somebody, and was not read by `reader`; a sentence each.
#[must_use]
pub fn unread(history: &[Operation], reader: &str) -> Vec<String> {
    let polls = history.iter().filter(|one| one.what == What::Poll && one.process == reader);
    let read: BTreeSet<(&str, &str)> = polls.map(|one| (one.key.as_str(), one.value.as_str())).collect();
    let mut told = BTreeSet::new();
    let known = history.iter().filter(|one| one.outcome == Outcome::Ok && one.what != What::Seek);
    let missing = known.filter(|one| {
        let place = (one.key.as_str(), one.value.as_str());
        !read.contains(&place) && told.insert(place)
    });
    missing.map(|one| format!("not read at the end: {one}")).collect()
}

#[cfg(test)]
mod tests {
    use super::unread;
    use crate::figures::Figures;
    use crate::operation::parse;

    const GOOD: &str = "send 1 ok t-0 0 101 5\nsend 1 ok t-0 2 102 6\nsend 2 info t-0 -1 201 7\nsend 2 fail t-0 -1 202 7\n\
                        poll 8 ok t-0 0 101 8\npoll 8 ok t-0 1 201 9\npoll 9 ok t-0 0 101 20\npoll 9 ok t-0 1 201 21\n\
                        poll 9 ok t-0 2 102 22\n";

    fn found(more: &str) -> Vec<String> {
        unread(&parse(&format!("{GOOD}{more}").replace(' ', "\t")).expect("a history"), "9")
    }

    #[test]
    fn what_was_acknowledged_or_seen_by_another_reader_must_be_read() {
        assert_eq!(found(""), Vec::<String>::new());
        assert_eq!(
            found("send 1 ok t-0 3 103 7\npoll 8 ok t-0 3 103 9\n"),
            ["not read at the end: send\t1\tok\tt-0\t3\t103\t7"]
        );
        assert_eq!(found("poll 8 ok t-0 3 203 11\n"), ["not read at the end: poll\t8\tok\tt-0\t3\t203\t11"]);
    }

    #[test]
    fn operations_are_counted_by_what_became_of_them() {
        let history = parse(&GOOD.replace(' ', "\t")).expect("a history");
        assert_eq!(Figures::of(&history), Figures { acknowledged: 2, unknown: 1, failed: 1, read: 5 });
    }
}
