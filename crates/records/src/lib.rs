//! milena-records.
