//! `cargo xtask schemas`: imports the facts of Kafka's message schemas from Kafka's jars into our own notation, and
//! checks field by field that the notation still equals them.

mod command;
mod compare;
mod jars;
mod json;
#[path = "../../../crates/protocol/build/notation.rs"]
mod notation;
mod render;

pub(crate) use command::run;
