//! milena-metadata.
