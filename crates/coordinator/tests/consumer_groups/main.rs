//! Consumer groups as their members see them: requests in, answers and records out.

mod coordinator;
mod heartbeats;
mod migration;
mod speed;
