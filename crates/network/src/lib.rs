//! milena-network.
