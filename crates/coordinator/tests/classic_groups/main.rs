//! Classic groups on the runtime, scene by scene. Groups under chance are in `tests/simulation`.
mod failures;
mod member;
mod offsets;
mod scenes;
mod world;
