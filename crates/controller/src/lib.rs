//! The controller's core: requests become metadata records, records become state. Pure.
