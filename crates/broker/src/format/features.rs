//! Which feature levels a new cluster starts with.
//!
//! Kafka: `Formatter.calculateEffectiveFeatureLevels`, `Feature.validateVersion`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use milena_metadata::{FEATURES, Feature, KRAFT_VERSION, METADATA_VERSION, MetadataVersion};

use super::FormatError;

/// The metadata version and the level of every other feature, `kraft.version` among them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FeatureLevels {
    pub(super) metadata_version: MetadataVersion,
    pub(super) levels: BTreeMap<&'static str, i16>,
}

/// The metadata version named by `--release-version`, the newest without it.
pub(super) fn release(name: Option<&str>) -> Result<MetadataVersion, FormatError> {
    let Some(name) = name else { return Ok(MetadataVersion::LATEST) };
    MetadataVersion::from_name(name).ok_or_else(|| {
        let known: Vec<&str> = MetadataVersion::all().map(MetadataVersion::name).collect();
        FormatError::refused(format!(
            "Unknown metadata.version '{name}'. Supported metadata.version are: {}",
            known.join(", ")
        ))
    })
}

impl FeatureLevels {
    /// What `--release-version` and the `--feature` flags (`name=level`) make; `dynamic_quorum` tells
    /// whether the voters live in the log.
    pub(super) fn choose(
        release_version: Option<&str>,
        flags: &[String],
        dynamic_quorum: bool,
    ) -> Result<Self, FormatError> {
        let asked = parse_flags(flags)?;
        if asked.contains_key(METADATA_VERSION) && release_version.is_some() {
            return Err(FormatError::refused(
                "Use --release-version instead of --feature metadata.version=X to avoid ambiguity.",
            ));
        }
        let metadata_version = match asked.get(METADATA_VERSION) {
            Some(level) => MetadataVersion::from_level(*level).ok_or_else(|| {
                FormatError::refused(format!("No feature:{METADATA_VERSION} with feature level {level}"))
            })?,
            None => release(release_version)?,
        };
        let mut levels: BTreeMap<&'static str, i16> =
            FEATURES.iter().map(|feature| (feature.name, feature.default_level(metadata_version))).collect();
        levels.insert(KRAFT_VERSION, i16::from(dynamic_quorum));
        for (name, level) in asked.iter().filter(|(name, _)| name.as_str() != METADATA_VERSION) {
            let Some(feature) = Feature::by_name(name) else {
                let known: Vec<&str> = FEATURES.iter().map(|feature| feature.name).collect();
                return Err(FormatError::refused(format!(
                    "Unsupported feature: {name}. Supported features are: {}",
                    known.join(", ")
                )));
            };
            check_level(feature, *level, metadata_version)?;
            if feature.name == KRAFT_VERSION {
                check_kraft(*level, dynamic_quorum)?;
            }
            levels.insert(feature.name, *level);
        }
        Ok(Self { metadata_version, levels })
    }
}

fn parse_flags(flags: &[String]) -> Result<BTreeMap<String, i16>, FormatError> {
    let mut levels = BTreeMap::new();
    for flag in flags {
        let (name, level) = flag.split_once('=').ok_or_else(|| {
            FormatError::refused(format!("Can't parse feature=level string {flag}: equals sign not found."))
        })?;
        let level = level.parse().map_err(|_| {
            FormatError::refused(format!(
                "Can't parse feature=level string {flag}: unable to parse {level} as a short."
            ))
        })?;
        levels.insert(name.to_owned(), level);
    }
    Ok(levels)
}

fn check_level(feature: &Feature, level: i16, metadata_version: MetadataVersion) -> Result<(), FormatError> {
    let name = feature.name;
    let Some(row) = feature.level(level) else {
        return Err(FormatError::refused(format!("No feature:{name} with feature level {level}")));
    };
    if metadata_version.level() < row.needs_metadata_version {
        let needed = MetadataVersion::from_level(row.needs_metadata_version).map_or("unknown", MetadataVersion::name);
        return Err(FormatError::refused(format!(
            "{name} could not be set to {level} because it depends on metadata.version={} ({needed})",
            row.needs_metadata_version
        )));
    }
    Ok(())
}

const FLAGS: &str = "--standalone, --initial-controllers, or --no-initial-controllers";

fn check_kraft(level: i16, dynamic_quorum: bool) -> Result<(), FormatError> {
    match (level > 0, dynamic_quorum) {
        (false, true) => Err(FormatError::refused(format!(
            "Cannot set kraft.version to 0 if controller.quorum.voters is empty and one of the flags {FLAGS} is used. \
             For dynamic controllers support, try removing the --feature flag for kraft.version."
        ))),
        (true, false) => Err(FormatError::refused(format!(
            "Cannot set kraft.version to {level} unless controller.quorum.voters is empty and one of the flags {FLAGS} \
             is used. For dynamic controllers support, try using one of {FLAGS} and removing controller.quorum.voters."
        ))),
        _ => Ok(()),
    }
}

/// What `kafka-storage.sh version-mapping` prints.
///
/// # Errors
/// The release is unknown.
pub fn version_mapping(release_version: Option<&str>) -> Result<String, FormatError> {
    let version = release(release_version)?;
    let shown = release_version.unwrap_or(version.name());
    let mut text = format!("{METADATA_VERSION}={} ({shown})\n", version.level());
    // The order is that of Kafka's Feature enum.
    for name in [
        KRAFT_VERSION,
        "transaction.version",
        "group.version",
        "eligible.leader.replicas.version",
        "share.version",
        "streams.version",
    ] {
        let level = Feature::by_name(name).map_or(0, |feature| feature.default_level(version));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}={level}");
    }
    Ok(text)
}

/// What `kafka-storage.sh feature-dependencies` prints for one `feature=level`.
///
/// # Errors
/// The feature or its level is unknown, or cannot be read.
pub fn feature_dependencies(flag: &str) -> Result<String, FormatError> {
    let (name, text) = flag.split_once('=').ok_or_else(|| {
        FormatError::refused(format!(
            "Invalid feature format: {flag}. Expected format: 'feature=version' (e.g. 'group.version=1')"
        ))
    })?;
    let level: i16 =
        text.parse().map_err(|_| FormatError::refused(format!("Invalid version format: {text} for feature {name}")))?;
    if name == METADATA_VERSION {
        let version = MetadataVersion::from_level(level)
            .ok_or_else(|| FormatError::refused(format!("Unknown metadata.version {level}")))?;
        return Ok(format!("{name}={level} ({}) has no dependencies.\n", version.name()));
    }
    let feature = Feature::by_name(name).ok_or_else(|| FormatError::refused(format!("Unknown feature: {name}")))?;
    let row = feature
        .level(level)
        .ok_or_else(|| FormatError::refused(format!("Feature level {level} is not supported for feature {name}")))?;
    let Some(needed) = MetadataVersion::from_level(row.needs_metadata_version) else {
        return Ok(format!("{name}={level} has no dependencies.\n"));
    };
    Ok(format!("{name}={level} requires:\n    {METADATA_VERSION}={} ({})\n", needed.level(), needed.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_told_as_kafkas_storage_tool_tells_them() {
        let cases = [
            ("metadata.version=25", "metadata.version=25 (4.0-IV3) has no dependencies.\n"),
            ("transaction.version=2", "transaction.version=2 has no dependencies.\n"),
            (
                "eligible.leader.replicas.version=1",
                "eligible.leader.replicas.version=1 requires:\n    metadata.version=23 (4.0-IV1)\n",
            ),
        ];
        for (flag, text) in cases {
            assert_eq!(feature_dependencies(flag).unwrap(), text);
        }
        let refused = [
            ("foo=1", "Unknown feature: foo"),
            ("metadata.version=999", "Unknown metadata.version 999"),
            ("group.version=9", "Feature level 9 is not supported for feature group.version"),
            ("a=b=c", "Invalid version format: b=c for feature a"),
            (
                "group.version",
                "Invalid feature format: group.version. Expected format: 'feature=version' (e.g. 'group.version=1')",
            ),
        ];
        for (flag, text) in refused {
            assert_eq!(feature_dependencies(flag).unwrap_err().to_string(), text);
        }
    }
}
