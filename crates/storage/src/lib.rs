//! milena-storage.
