//! milena-protocol.
