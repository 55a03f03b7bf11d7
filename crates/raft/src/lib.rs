//! milena-raft.
