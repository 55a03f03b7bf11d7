//! Following another leader: fetching its log and its snapshots.

use bytes::Bytes;
use milena_metadata::Delta;
use milena_protocol::messages::FetchResponse;
use milena_raft::{Destination, Effect, FetchOut, LeaderNews, Outbound, SnapshotFetchOut};
use milena_storage::Result;
use milena_storage::disk::Disk;
use milena_types::{ErrorCode, Timestamp};

use super::MetadataLoop;
use crate::hosts::raft_wire::fetch_answer;

/// The one fetch that is under way. Whatever answers another was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InFlight {
    Fetch(FetchOut),
    Snapshot(SnapshotFetchOut),
}

impl<D: Disk> MetadataLoop<D> {
    pub(super) fn fetch_if_due(&mut self, now: Timestamp) {
        if self.in_flight.is_none()
            && now >= self.retry_fetch_at
            && let Some(mut effect) = self.quorum.next_fetch()
        {
            if let Effect::Send { request: Outbound::Fetch(asked), .. } = &mut effect {
                asked.sent = now;
                self.in_flight = Some(InFlight::Fetch(*asked));
            }
            self.fx.push(effect);
        }
    }

    fn retry_fetch(&mut self, now: Timestamp) {
        self.retry_fetch_at = Timestamp(now.0 + self.quorum.config().retry_backoff_ms.max(1));
    }

    pub(super) fn on_fetch_reply(&mut self, asked: FetchOut, response: Option<FetchResponse>) {
        let now = self.clock.steady();
        if self.in_flight.take_if(|in_flight| *in_flight == InFlight::Fetch(asked)).is_none() {
            return;
        }
        let Some(response) = response else {
            self.retry_fetch(now);
            let request = Outbound::Fetch(asked);
            return self.quorum.on_send_failed(&Destination::AnyBootstrapServer, &request, now);
        };
        let (answer, endpoints, records) = fetch_answer(response, &self.listener_name);
        if let milena_protocol::Records::Bytes(bytes) = records {
            self.fetched = Some((bytes, answer.high_watermark));
        }
        if answer.error.is_none() {
            self.told = Some((asked.sent, answer.high_watermark));
        } else {
            self.retry_fetch(now);
        }
        let before = self.fx.len();
        self.quorum.on_fetch_answer(&asked, &answer, endpoints, now, &mut self.fx);
        self.in_flight = self.fx.iter().skip(before).find_map(|effect| match effect {
            Effect::Send { request: Outbound::FetchSnapshot(asked), .. } => Some(InFlight::Snapshot(*asked)),
            _ => None,
        });
    }

    /// Tells as of when all metadata are published: a leader's answer holds for when it was asked.
    pub(super) fn tell_caught_up(&mut self, now: Timestamp) {
        let told = self.told.take();
        let as_of = match told {
            // What is not published before the end of a transaction is missing.
            _ if self.replayer.image.is_in_transaction() => None,
            // An active controller has seen the first commit of its epoch, and knows all those before.
            _ if self.controller.is_some() => Some(now),
            Some((sent, end)) if end.is_some() && self.quorum.high_watermark() >= Some(end) => Some(sent),
            _ => None,
        };
        if let Some(as_of) = as_of {
            self.listener.caught_up(as_of);
        }
    }

    pub(super) fn append_fetched(&mut self) -> Result<()> {
        let Some((bytes, high_watermark)) = self.fetched.take() else {
            return Ok(());
        };
        let fetched = self.log.append_fetched(bytes, self.clock.now())?;
        self.log.sync()?;
        self.quorum.on_follower_append(&fetched, high_watermark, self.clock.steady(), &mut self.fx);
        Ok(())
    }

    /// A leader that sends pieces of a snapshot is alive. What is no longer wanted is not installed when it is whole.
    pub(super) fn on_snapshot_piece(&mut self, asked: &SnapshotFetchOut, error: ErrorCode, news: LeaderNews) {
        let now = self.clock.steady();
        self.quorum.on_snapshot_answer(asked, error, news, now, &mut self.fx);
    }

    pub(super) fn on_snapshot_reply(&mut self, asked: SnapshotFetchOut, bytes: Option<Bytes>) {
        let now = self.clock.steady();
        if self.in_flight.take_if(|in_flight| *in_flight == InFlight::Snapshot(asked)).is_none() {
            return;
        }
        let Some(bytes) = bytes else {
            self.retry_fetch(now);
            return self.quorum.on_download_failed();
        };
        if self.quorum.wants_snapshot(asked.snapshot)
            && let Err(error) = self.load_downloaded(asked, &bytes, now)
        {
            self.failure = Some(error);
        }
    }

    fn load_downloaded(&mut self, asked: SnapshotFetchOut, bytes: &[u8], now: Timestamp) -> Result<()> {
        let id = asked.snapshot;
        self.log.install_snapshot(id, bytes, self.clock.now())?;
        let kraft = self.log.snapshot_kraft(id, self.configured.clone())?;
        self.log.load_latest_snapshot(&mut self.replayer)?;
        tracing::info!(end_offset = id.offset.0, epoch = id.epoch.0, "metadata snapshot loaded");
        self.replayer.delta = Delta::replacing(&self.published, &self.replayer.image);
        self.quorum.on_snapshot_loaded(id, kraft, now, &mut self.fx);
        Ok(())
    }
}
