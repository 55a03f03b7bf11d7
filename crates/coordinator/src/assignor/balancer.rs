//! Walks the subscribers of one topic from the least and from the most loaded end (`MemberAssignmentBalancer`).
//!
//! The loads change while it walks: each step gives the member at the bottom one partition more, or takes one from the
//! member at the top. Members of equal load are served in turn, so that a level is filled before the next begins.

/// The state of the walk. Members are places in the group; `loads` is the group's, by place.
#[derive(Default)]
pub(super) struct Balancer {
    /// Subscribers in the order of load, then place.
    sorted: Vec<usize>,
    least_end: usize,
    least_load: i64,
    next_least: usize,
    most_start: usize,
    most_end: usize,
    most_load: i64,
    /// One past the next most loaded member; below or at `most_start` when the range is used up.
    next_most: usize,
}

/// A load is a number of partitions.
fn load(loads: &[usize], member: usize) -> i64 {
    loads.get(member).map_or(0, |load| i64::try_from(*load).unwrap_or(i64::MAX))
}

impl Balancer {
    /// Begins with the subscribers of a topic. Gives the difference between the largest and the smallest load.
    pub(super) fn begin(&mut self, subscribers: &[usize], loads: &[usize]) -> i64 {
        self.sorted.clear();
        self.sorted.extend_from_slice(subscribers);
        self.sorted.sort_by_key(|member| (load(loads, *member), *member));
        let least = self.sorted.first().map_or(0, |member| load(loads, *member));
        let most = self.sorted.last().map_or(0, |member| load(loads, *member));
        self.least_end = 0;
        self.least_load = least - 1;
        self.next_least = 0;
        self.most_start = self.sorted.len();
        self.most_end = self.sorted.len();
        self.most_load = most + 1;
        self.next_most = self.sorted.len();
        most - least
    }

    /// The next member to get a partition; the caller gives it one.
    pub(super) fn next_least_loaded(&mut self, loads: &[usize]) -> Option<usize> {
        if self.next_least >= self.least_end {
            self.least_load += 1;
            while self.sorted.get(self.least_end).is_some_and(|member| load(loads, *member) == self.least_load) {
                self.least_end += 1;
            }
            self.next_least = 0;
        }
        let member = self.sorted.get(self.next_least).copied();
        self.next_least += 1;
        member
    }

    /// The next member to lose a partition; the caller takes one or excludes the member. `None` when none is left.
    pub(super) fn next_most_loaded(&mut self, loads: &[usize]) -> Option<usize> {
        if self.next_most <= self.most_start {
            if self.most_end <= self.most_start && self.most_start > 0 {
                // Everyone in the range was excluded: the level goes down to the next member's.
                let next = self.most_start.checked_sub(1).and_then(|at| self.sorted.get(at));
                self.most_load = next.map_or(0, |member| load(loads, *member));
            } else {
                self.most_load -= 1;
            }
            while let Some(at) = self.most_start.checked_sub(1)
                && self.sorted.get(at).is_some_and(|member| load(loads, *member) == self.most_load)
            {
                self.most_start = at;
            }
            self.next_most = self.most_end;
        }
        let at = self.next_most.checked_sub(1)?;
        self.next_most = at;
        self.sorted.get(at).copied()
    }

    /// The member `next_most_loaded` gave last has no partition of this topic to lose.
    pub(super) fn exclude_most_loaded(&mut self) {
        let Some(last) = self.most_end.checked_sub(1) else { return };
        if self.next_most < self.sorted.len() && last < self.sorted.len() {
            self.sorted.swap(self.next_most, last);
        }
        self.most_end = last;
    }

    /// Whether no member can be better off by more than one.
    pub(super) fn is_balanced(&self) -> bool {
        self.most_load - self.least_load <= 1
    }
}
