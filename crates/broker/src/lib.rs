//! The broker: the only place where the cores, the log and the network meet. `dispatch` takes what a connection read,
//! `api` has one file for each key, `partitions` is the data plane; `hosts` runs the pure cores.

mod api;
mod broker;
mod call;
mod clock;
pub mod config;
mod config_checks;
mod controller_handle;
mod describe;
