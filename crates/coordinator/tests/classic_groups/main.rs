//! Classic groups on the runtime: single scenes, and groups under chance.
mod chaos;
mod member;
mod offsets;
mod scenes;
mod world;
