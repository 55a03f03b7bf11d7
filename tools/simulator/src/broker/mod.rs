//! A broker as the simulator runs it: the real replication cores, fetch plans, fetch sessions and logs, with the glue of
//! `milena-broker`'s `partitions` and `replication` expressed once more without tokio and threads. The rules that are
//! re-expressed are listed in `docs/TESTING.md`.

mod assignment;
mod broker_host;
mod disk_work;
mod following;
mod in_sync;
mod leading;
mod lifecycle;
mod outbox;
mod replica;
mod serving;

pub(crate) use broker_host::{BrokerHost, BrokerSettings, Phase};
pub(crate) use lifecycle::{CLUSTER_ID, SESSION_MS};
pub(crate) use outbox::{Note, Outbox, To};
pub(crate) use replica::{Entry, Replica, entries_of, in_memory};
