//! The tasks of replication and their end.

use super::{directories, fetcher, isr_changes};
use crate::broker::Broker;
use crate::controller_handle::ControllerHandle;
use crate::hosts::run_errands;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What copies between brokers; ended by `stop`.
#[derive(Debug)]
pub struct ReplicationTasks {
    stop: watch::Sender<bool>,
    fetchers: JoinHandle<()>,
    beside: Vec<JoinHandle<()>>,
}

impl ReplicationTasks {
    /// Starts them; the broker is registered. Needs a tokio runtime.
    #[must_use]
    pub fn start(broker: &Arc<Broker>, controller: Arc<dyn ControllerHandle>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let fetchers = tokio::spawn(keep_fetchers(Arc::clone(broker), stopped));
        let places = tokio::spawn(directories::run(Arc::clone(broker), Arc::clone(&controller)));
        let changes = tokio::spawn(isr_changes::run(Arc::clone(broker), controller));
        let looking = tokio::spawn(look(Arc::clone(broker)));
        let errands = tokio::spawn(run_errands(Arc::clone(broker)));
        Self { stop, fetchers, beside: vec![changes, looking, places, errands] }
    }

    /// Ends them. When this returns, nothing more is appended by fetchers.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in &self.beside {
            task.abort();
        }
        if self.fetchers.await.is_err() {
            tracing::error!("the fetchers failed");
        }
    }
}

/// Runs a fetcher for every leader that is followed.
async fn keep_fetchers(broker: Arc<Broker>, mut stopped: watch::Receiver<bool>) {
    let mut changed = broker.following().watch();
    let mut running = BTreeMap::new();
    while !*stopped.borrow() {
        for leader in broker.following().leaders() {
            running
                .entry(leader)
                .or_insert_with(|| tokio::spawn(fetcher::run(Arc::clone(&broker), leader, stopped.clone())));
        }
        tokio::select! {
            _ = changed.changed() => {}
            _ = stopped.changed() => {}
        }
    }
    for (leader, task) in running {
        if task.await.is_err() {
            tracing::error!(%leader, "a fetcher failed");
        }
    }
}

async fn look(broker: Arc<Broker>) {
    let half = u64::try_from(broker.settings.replica_lag_time_max_ms / 2).unwrap_or(0).max(1);
    loop {
        tokio::time::sleep(Duration::from_millis(half)).await;
        isr_changes::look_for_changes(&broker);
    }
}
