//! A cluster of quorum members on one thread, from one seed: a network that loses, doubles, delays and reorders, disks
//! that forget what was not synced, clocks that drift, crashes at any effect, partitions of every shape. What must always
//! hold is checked at every step (`checker`), that everything heals at the end. A seed replays exactly.
//!
//! `MILENA_RAFT_SEEDS=a..b` runs that range, `MILENA_RAFT_STATES=n` bounds the exhaustive exploration.

mod checker;
mod disk;
mod exploration;
mod explored;
mod faults;
mod hosting;
mod message;
mod random;
mod seeds;
mod serving;
mod wire;
mod world;
