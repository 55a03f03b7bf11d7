//! milena-replication.
