//! Which releases of Apache Kafka can start: what each understands is what its own classes say (`MetadataVersion`, `Feature`
//! and its supported production levels).

use milena_metadata::{
    ELIGIBLE_LEADER_REPLICAS_VERSION, GROUP_VERSION, KRAFT_VERSION, MetadataVersion, SHARE_VERSION, STREAMS_VERSION,
    TRANSACTION_VERSION,
};

use super::facts::Facts;

/// What stands in the way of one release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseAnswer {
    /// Such as `4.0`.
    pub release: &'static str,
    /// Empty if it can start.
    pub obstacles: Vec<String>,
}

/// A release, the lowest and highest level of `metadata.version` it runs with, and the highest levels of other features.
struct Release {
    name: &'static str,
    metadata_versions: (i16, i16),
    features: &'static [(&'static str, i16)],
}

const FEATURES_OF_4_0: &[(&str, i16)] =
    &[(KRAFT_VERSION, 1), (TRANSACTION_VERSION, 2), (GROUP_VERSION, 1), (ELIGIBLE_LEADER_REPLICAS_VERSION, 1)];
const FEATURES_OF_4_1: &[(&str, i16)] = &[
    (KRAFT_VERSION, 1),
    (TRANSACTION_VERSION, 2),
    (GROUP_VERSION, 1),
    (ELIGIBLE_LEADER_REPLICAS_VERSION, 1),
    (SHARE_VERSION, 1),
];
const FEATURES_OF_4_2: &[(&str, i16)] = &[
    (KRAFT_VERSION, 1),
    (TRANSACTION_VERSION, 2),
    (GROUP_VERSION, 1),
    (ELIGIBLE_LEADER_REPLICAS_VERSION, 1),
    (SHARE_VERSION, 1),
    (STREAMS_VERSION, 1),
];

const RELEASES: [Release; 5] = [
    Release { name: "3.9", metadata_versions: (1, 21), features: &[(KRAFT_VERSION, 1)] },
    Release { name: "4.0", metadata_versions: (7, 25), features: FEATURES_OF_4_0 },
    Release { name: "4.1", metadata_versions: (7, 27), features: FEATURES_OF_4_1 },
    Release { name: "4.2", metadata_versions: (7, 29), features: FEATURES_OF_4_2 },
    Release { name: "4.3", metadata_versions: (7, 30), features: FEATURES_OF_4_2 },
];

/// One answer for each release, oldest first.
pub(super) fn answers(facts: &Facts) -> Vec<ReleaseAnswer> {
    RELEASES
        .iter()
        .map(|release| ReleaseAnswer { release: release.name, obstacles: release.obstacles(facts) })
        .collect()
}

impl Release {
    fn obstacles(&self, facts: &Facts) -> Vec<String> {
        let mut obstacles = facts.common_obstacles.clone();
        let (low, high) = self.metadata_versions;
        let name =
            |level| MetadataVersion::from_level(level).map_or_else(|| level.to_string(), |known| known.to_string());
        if let Some(level) = facts.metadata_version {
            if level > high {
                obstacles.push(format!("metadata.version {} is above its {}", name(level), name(high)));
            } else if level < low {
                obstacles.push(format!("metadata.version {} is below its {}", name(level), name(low)));
            }
        }
        for (feature, level) in &facts.features {
            let known = self.features.iter().find(|(known, _)| known == feature).map_or(0, |(_, highest)| *highest);
            if *level > known {
                obstacles.push(format!("{feature} {level} is above its {known}"));
            }
        }
        obstacles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starting(facts: &Facts) -> Vec<&'static str> {
        let answers = answers(facts).into_iter();
        answers.filter(|answer| answer.obstacles.is_empty()).map(|answer| answer.release).collect()
    }

    #[test]
    fn a_release_starts_on_what_it_understands_and_on_nothing_newer() {
        let with = Facts::of_levels;
        assert_eq!(starting(&with(21, &[(KRAFT_VERSION, 1)])), ["3.9", "4.0", "4.1", "4.2", "4.3"]);
        assert_eq!(starting(&with(4, &[])), ["3.9"], "3.1-IV0 is too old for 4.0");
        assert_eq!(starting(&with(25, &[(GROUP_VERSION, 1)])), ["4.0", "4.1", "4.2", "4.3"]);
        assert_eq!(starting(&with(21, &[(TRANSACTION_VERSION, 2)])), ["4.0", "4.1", "4.2", "4.3"]);
        assert_eq!(starting(&with(29, &[(STREAMS_VERSION, 1)])), ["4.2", "4.3"]);
        assert_eq!(starting(&with(30, &[])), ["4.3"]);
        assert_eq!(starting(&with(31, &[])), [""; 0]);
        let answer = answers(&with(30, &[])).remove(0);
        assert_eq!(answer.obstacles, ["metadata.version 4.3-IV0 is above its 3.9-IV0"]);
    }
}
