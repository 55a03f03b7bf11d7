//! milena-broker.
