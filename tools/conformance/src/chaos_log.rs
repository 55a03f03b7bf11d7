//! What members of the group chaos and its writer wrote down, a line for each thing they did, before they did the next:
//!
//! ```text
//! NANOSECONDS start                          from here on it is a new member
//! NANOSECONDS owns GENERATION 0,3,4          all that it has now; `-` for nothing
//! NANOSECONDS read PARTITION OFFSET VALUE
//! NANOSECONDS commit PARTITION NEXT          is asked for from here on
//! NANOSECONDS committed PARTITION NEXT       has been answered
//! NANOSECONDS acknowledged PARTITION OFFSET VALUE     (the writer)
//! NANOSECONDS left
//! NANOSECONDS # anything else
//! ```
//!
//! A line that a kill tore does not count.

use std::path::Path;

use anyhow::Context as _;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) at: i64,
    pub(crate) event: Event,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Start,
    Owns { generation: i32, partitions: Vec<i32> },
    Read { partition: i32, offset: i64, value: i64 },
    Commit { partition: i32, next: i64 },
    Committed { partition: i32, next: i64 },
    Acknowledged { partition: i32, offset: i64, value: i64 },
    Left,
    Other,
}

/// What one member wrote, over all of its lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diary {
    pub(crate) group: String,
    pub(crate) member: String,
    /// Its lives are one member to the group.
    pub(crate) is_static: bool,
    pub(crate) lines: Vec<Line>,
}

impl Diary {
    /// Reads a file; one that is not there is a member that never came to write.
    pub(crate) fn read(path: &Path, group: &str, member: &str, is_static: bool) -> anyhow::Result<Self> {
        let text = match std::fs::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        Ok(Self { group: group.to_owned(), member: member.to_owned(), is_static, lines: lines(&text) })
    }
}

/// The lines of a text.
pub(crate) fn lines(text: &str) -> Vec<Line> {
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).filter_map(line).collect()
}

fn line(text: &str) -> Option<Line> {
    let mut words = text.split_whitespace();
    let at = words.next()?.parse().ok()?;
    let event = match words.next()? {
        "start" => Event::Start,
        "left" => Event::Left,
        "owns" => {
            let generation = words.next()?.parse().ok()?;
            let list = words.next()?.split(',').filter(|word| *word != "-");
            Event::Owns { generation, partitions: list.map(str::parse).collect::<Result<_, _>>().ok()? }
        }
        "commit" => Event::Commit { partition: words.next()?.parse().ok()?, next: words.next()?.parse().ok()? },
        "committed" => Event::Committed { partition: words.next()?.parse().ok()?, next: words.next()?.parse().ok()? },
        what @ ("read" | "acknowledged") => {
            let partition = words.next()?.parse().ok()?;
            let (offset, value) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            if what == "read" {
                Event::Read { partition, offset, value }
            } else {
                Event::Acknowledged { partition, offset, value }
            }
        }
        _ => Event::Other,
    };
    Some(Line { at, event })
}

#[cfg(test)]
mod tests {
    use super::{Event, Line, lines};

    #[test]
    fn every_line_is_understood_and_a_torn_one_is_left_out() {
        let text = "5 start\n6 owns 3 0,2\n7 owns 4 -\n8 read 2 10 10\n9 commit 2 11\n10 committed 2 11\n11 # oh\n12 left\n13 read 2 1";
        let events: Vec<Event> = lines(text).into_iter().map(|line| line.event).collect();
        let expected = vec![
            Event::Start,
            Event::Owns { generation: 3, partitions: vec![0, 2] },
            Event::Owns { generation: 4, partitions: vec![] },
            Event::Read { partition: 2, offset: 10, value: 10 },
            Event::Commit { partition: 2, next: 11 },
            Event::Committed { partition: 2, next: 11 },
            Event::Other,
            Event::Left,
        ];
        assert_eq!(events, expected);
        let told = lines("1 acknowledged 4 7 8\n");
        assert_eq!(told, [Line { at: 1, event: Event::Acknowledged { partition: 4, offset: 7, value: 8 } }]);
    }
}
