//! UpdateFeatures (`FeatureControlManager`, KIP-584, KIP-778).

use std::collections::BTreeMap;

use milena_metadata::{
    ConfigResource, ELIGIBLE_LEADER_REPLICAS_VERSION, Feature, KRAFT_VERSION, LevelRange, METADATA_VERSION,
    MetadataVersion, VersionedRecord, supported_features,
};
use milena_protocol::Text;
use milena_protocol::messages::update_features_request::FeatureUpdateKey;
use milena_protocol::messages::update_features_response::UpdatableFeatureResult;
use milena_protocol::messages::{
    ConfigRecord, FeatureLevelRecord, MetadataRecord, UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use milena_types::ErrorCode;

use crate::config_rules::MIN_INSYNC_REPLICAS;
use crate::{ApiError, Controller, Decision};

/// `FeatureUpdate.UpgradeType`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UpgradeType {
    Unknown,
    Upgrade,
    SafeDowngrade,
    UnsafeDowngrade,
}

impl UpgradeType {
    /// Version 0 only has `allow_downgrade`, later ones only the type.
    fn of(update: &FeatureUpdateKey) -> UpgradeType {
        match update.upgrade_type {
            _ if update.allow_downgrade => UpgradeType::SafeDowngrade,
            1 => UpgradeType::Upgrade,
            2 => UpgradeType::SafeDowngrade,
            3 => UpgradeType::UnsafeDowngrade,
            _ => UpgradeType::Unknown,
        }
    }
}

fn invalid(feature: &str, level: i16, why: impl std::fmt::Display) -> ApiError {
    let why = format!("Invalid update version {level} for feature {feature}. {why}");
    ApiError::new(ErrorCode::INVALID_UPDATE_VERSION, why)
}

impl Controller {
    /// Raises and lowers feature levels: all that are asked for, or none. `kraft_version` is the quorum's level, which
    /// raft keeps.
    #[must_use]
    pub fn decide_update_features(
        &self,
        request: &UpdateFeaturesRequest,
        kraft_version: i16,
    ) -> Decision<UpdateFeaturesResponse> {
        let updates = &request.feature_updates;
        let mut proposed: BTreeMap<&str, i16> =
            self.image.features.levels.iter().map(|(name, level)| (&**name, *level)).collect();
        proposed.insert(METADATA_VERSION, self.image.features.metadata_version.level());
        proposed.extend(updates.iter().map(|update| (&*update.feature, update.max_version_level)));
        let mut records = Vec::new();
        for update in updates {
            let upgrade = UpgradeType::of(update);
            if let Err(error) = self.update_feature(update, upgrade, kraft_version, &proposed, &mut records) {
                return Decision::of(Vec::new(), failure(&error));
            }
        }
        // Only versions 0 and 1 carry a result for each feature.
        let result = |update: &FeatureUpdateKey| UpdatableFeatureResult {
            feature: update.feature.clone(),
            error_message: None,
            ..UpdatableFeatureResult::default()
        };
        let results = updates.iter().map(result).collect();
        let response = UpdateFeaturesResponse { error_message: None, results, ..UpdateFeaturesResponse::default() };
        let decision = Decision::atomic(records, response);
        if request.validate_only { decision.without_records() } else { decision }
    }

    fn update_feature(
        &self,
        update: &FeatureUpdateKey,
        upgrade: UpgradeType,
        kraft_version: i16,
        proposed: &BTreeMap<&str, i16>,
        records: &mut Vec<VersionedRecord>,
    ) -> Result<(), ApiError> {
        let (name, wanted) = (&*update.feature, update.max_version_level);
        if upgrade == UpgradeType::Unknown {
            return Err(invalid(name, wanted, "The controller does not support the given upgrade type."));
        }
        let current = match name {
            METADATA_VERSION => self.image.features.metadata_version.level(),
            KRAFT_VERSION => kraft_version,
            _ => self.image.features.level(name),
        };
        if wanted < 0 {
            return Err(invalid(name, wanted, "A feature version cannot be less than 0."));
        }
        self.check_supported(name, wanted).map_err(|why| invalid(name, wanted, why))?;
        if wanted < current && upgrade == UpgradeType::Upgrade {
            let why = "Can't downgrade the version of this feature without setting the upgrade type to either safe or \
                       unsafe downgrade.";
            return Err(invalid(name, wanted, why));
        }
        if wanted > current && upgrade != UpgradeType::Upgrade {
            return Err(invalid(name, wanted, "Can't downgrade to a newer version."));
        }
        match name {
            METADATA_VERSION => self.check_metadata_version(wanted, upgrade)?,
            // Kept by raft; the level it has needs no record.
            KRAFT_VERSION if wanted == current => return Ok(()),
            KRAFT_VERSION if wanted < current => {
                return Err(invalid(name, wanted, "Can't downgrade the version of this feature."));
            }
            KRAFT_VERSION => return Err(invalid(name, wanted, "This quorum cannot change its kraft.version yet.")),
            _ => check_needs(name, wanted, proposed).map_err(|why| invalid(name, wanted, why))?,
        }
        let record = FeatureLevelRecord { name: update.feature.clone(), feature_level: wanted, ..Default::default() };
        records.push((MetadataRecord::FeatureLevel(record), 0));
        if name == ELIGIBLE_LEADER_REPLICAS_VERSION && wanted > 0 && current == 0 {
            self.push_elr_safety_records(records);
        }
        Ok(())
    }

    /// Whether this controller, all brokers and all other controllers support a level.
    fn check_supported(&self, name: &str, level: i16) -> Result<(), String> {
        let local = supported_features().find(|feature| feature.0 == name);
        let local = local.map_or(LevelRange::default(), |(_, min, max)| LevelRange { min, max });
        check_range(&format!("Local controller {}", self.settings.node_id), local, level)?;
        for broker in self.image.cluster.brokers.values() {
            let range = broker.features.get(name).copied().unwrap_or_default();
            check_range(&format!("Broker {}", broker.id), range, level)?;
        }
        if !self.image.features.metadata_version.is_controller_registration_supported() {
            return Ok(());
        }
        let node = self.settings.node_id;
        for controller in self.image.cluster.controllers.values().filter(|controller| controller.id != node) {
            let range = controller.features.get(name).copied().unwrap_or_default();
            check_range(&format!("Controller {}", controller.id), range, level)?;
        }
        let known = |id: &milena_types::BrokerId| *id == node || self.image.cluster.controllers.contains_key(id);
        match self.settings.voters.iter().find(|id| !known(id)) {
            Some(id) => Err(format!("controller {id} has not registered, and may not support this feature")),
            None => Ok(()),
        }
    }

    fn check_metadata_version(&self, wanted: i16, upgrade: UpgradeType) -> Result<(), ApiError> {
        let current = self.image.features.metadata_version;
        let Some(version) = MetadataVersion::from_level(wanted) else {
            let (min, max) = (MetadataVersion::MINIMUM.level(), MetadataVersion::LATEST.level());
            let why = format!("Invalid metadata.version {wanted}. Valid versions are from {min} to {max}.");
            return Err(ApiError::new(ErrorCode::INVALID_UPDATE_VERSION, why));
        };
        if version >= current || !current.metadata_changed(version) {
            return Ok(());
        }
        let why = match upgrade {
            UpgradeType::UnsafeDowngrade => "Unsafe metadata downgrade is not supported in this version.",
            _ => "Refusing to perform the requested downgrade because it might delete metadata information.",
        };
        let why = format!("Unsupported metadata.version downgrade from {} to {wanted}. {why}", current.level());
        Err(ApiError::new(ErrorCode::INVALID_UPDATE_VERSION, why))
    }

    /// With ELR `min.insync.replicas` must be the same for all brokers.
    fn push_elr_safety_records(&self, records: &mut Vec<VersionedRecord>) {
        let configs = &self.image.configs;
        if configs.value(&ConfigResource::all_brokers(), MIN_INSYNC_REPLICAS).is_none() {
            records.push(self.cluster_min_insync_replicas());
        }
        for (resource, values) in configs.iter() {
            let of_broker = resource.kind == ConfigResource::BROKER && !resource.name.is_empty();
            if of_broker && values.contains_key(MIN_INSYNC_REPLICAS) {
                let record = ConfigRecord {
                    resource_type: resource.kind,
                    resource_name: resource.name.clone(),
                    name: Text::from(MIN_INSYNC_REPLICAS),
                    value: None,
                    ..ConfigRecord::default()
                };
                records.push((MetadataRecord::Config(record), 0));
            }
        }
    }
}

fn check_range(who: &str, range: LevelRange, level: i16) -> Result<(), String> {
    if range == LevelRange::default() && level != 0 {
        return Err(format!("{who} does not support this feature."));
    }
    if level < range.min || level > range.max {
        return Err(format!("{who} only supports versions {}-{}", range.min, range.max));
    }
    Ok(())
}

fn check_needs(name: &str, level: i16, proposed: &BTreeMap<&str, i16>) -> Result<(), String> {
    let Some(feature) = Feature::by_name(name) else { return Err(format!("Feature {name} not found.")) };
    let Some(row) = feature.level(level) else { return Err(format!("No feature:{name} with feature level {level}")) };
    let has = proposed.get(METADATA_VERSION).copied().unwrap_or(0);
    if has < row.needs_metadata_version {
        let needs = row.needs_metadata_version;
        let version = MetadataVersion::from_level(needs).map_or("unknown", MetadataVersion::name);
        return Err(format!(
            "{name} could not be set to {level} because it depends on metadata.version={needs} ({version})"
        ));
    }
    Ok(())
}

fn failure(error: &ApiError) -> UpdateFeaturesResponse {
    let why = error.message.as_deref().unwrap_or_default();
    let why = format!("The update failed for all features since the following feature had an error: {why}");
    UpdateFeaturesResponse {
        error_code: error.error.0,
        error_message: Some(why.into()),
        ..UpdateFeaturesResponse::default()
    }
}
