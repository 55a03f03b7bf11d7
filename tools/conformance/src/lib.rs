//! milena-conformance.
