//! Following another leader: fetching its log and its snapshots.

use milena_metadata::Delta;
use milena_raft::{Destination, Effect, OffsetAndEpoch, Outbound};
use milena_storage::Result;
use milena_storage::disk::Disk;
use milena_types::Timestamp;

use super::MetadataLoop;
use super::start_error::check_voters;
use crate::hosts::raft_wire::{METADATA_TOPIC, fetch_answer};

/// Until the next fetch after one that failed (`controller.quorum.retry.backoff.ms`).
const RETRY_MS: i64 = 20;

impl<D: Disk> MetadataLoop<D> {
    pub(super) fn fetch_if_due(&mut self, now: Timestamp) {
        if !self.fetch_in_flight
            && now >= self.retry_fetch_at
            && let Some(effect) = self.quorum.next_fetch()
        {
            self.fetch_in_flight = true;
            if let Effect::Send { request: Outbound::Fetch(asked), .. } = &effect {
                self.asked = Some(*asked);
            }
            self.fx.push(effect);
        }
    }

    pub(super) fn on_fetch_reply(&mut self, response: Option<milena_protocol::messages::FetchResponse>) {
        let now = self.clock.steady();
        self.fetch_in_flight = false;
        let (Some(response), Some(asked)) = (response, self.asked) else {
            self.retry_fetch_at = Timestamp(now.0 + RETRY_MS);
            if let Some(asked) = self.asked {
                let request = Outbound::Fetch(asked);
                self.quorum.on_send_failed(&Destination::AnyBootstrapServer, &request, now);
            }
            return;
        };
        let (answer, endpoints, records) = fetch_answer(response, &self.listener_name);
        if let milena_protocol::Records::Bytes(bytes) = records {
            self.fetched = Some((bytes, answer.high_watermark));
        }
        if !answer.error.is_none() {
            self.retry_fetch_at = Timestamp(now.0 + RETRY_MS);
        }
        let before = self.fx.len();
        self.quorum.on_fetch_answer(&asked, &answer, endpoints, now, &mut self.fx);
        let downloads = |effect: &Effect| matches!(effect, Effect::Send { request: Outbound::FetchSnapshot(_), .. });
        self.fetch_in_flight = self.fx.iter().skip(before).any(downloads);
    }

    pub(super) fn append_fetched(&mut self) -> Result<()> {
        let Some((bytes, high_watermark)) = self.fetched.take() else {
            return Ok(());
        };
        let before = self.quorum.kraft().kraft_version;
        let fetched = self.log.append_fetched(bytes, self.clock.now())?;
        self.log.sync()?;
        self.quorum.on_follower_append(&fetched, high_watermark, self.clock.steady(), &mut self.fx);
        self.check_followed_voters(before)
    }

    /// What the leader's log says of the voters must be something this node can do.
    fn check_followed_voters(&mut self, version_before: i16) -> Result<()> {
        let kraft = self.quorum.kraft();
        if let Err(error) = check_voters(&kraft.voters, self.quorum.config()) {
            let source = std::io::Error::other(error.to_string());
            return Err(milena_storage::Error::Io { operation: "follow", path: METADATA_TOPIC.into(), source });
        }
        if kraft.kraft_version != version_before {
            self.listener.kraft_version(kraft.kraft_version);
        }
        Ok(())
    }

    pub(super) fn on_snapshot_reply(&mut self, snapshot: Option<(OffsetAndEpoch, bytes::Bytes)>) {
        self.fetch_in_flight = false;
        let now = self.clock.steady();
        let loaded = match snapshot {
            Some((id, _)) if !self.quorum.wants_snapshot(id) => return,
            Some((id, bytes)) => self.log.install_snapshot(id, &bytes, self.clock.now()).map(|()| Some(id)),
            None => Ok(None),
        };
        match loaded {
            Ok(Some(id)) => {
                let kraft = self.log.snapshot_kraft(id, self.configured.clone());
                let (Ok(()), Ok(kraft)) = (self.log.load_latest_snapshot(&mut self.replayer), kraft) else {
                    tracing::error!(?id, "a downloaded metadata snapshot cannot be loaded");
                    return;
                };
                let before = self.quorum.kraft().kraft_version;
                self.replayer.delta = Delta::replacing(&self.published, &self.replayer.image);
                self.quorum.on_snapshot_loaded(id, kraft, now, &mut self.fx);
                if let Err(error) = self.check_followed_voters(before) {
                    tracing::error!(%error, "a downloaded metadata snapshot names voters that cannot be followed");
                }
            }
            Ok(None) => {
                self.retry_fetch_at = Timestamp(now.0 + RETRY_MS);
                self.quorum.on_download_failed();
            }
            Err(error) => tracing::error!(%error, "a downloaded metadata snapshot cannot be kept"),
        }
    }
}
