//! Turns `schemas/*.schema` into Rust. Plain std; each step is a file of `build/`.

#[path = "build/api_keys.rs"]
mod api_keys;
#[path = "build/decode.rs"]
mod decode;
#[path = "build/encode.rs"]
mod encode;
#[path = "build/metadata_record.rs"]
mod metadata_record;
#[path = "build/model.rs"]
mod model;
#[path = "build/naming.rs"]
mod naming;
#[path = "build/notation.rs"]
mod notation;
#[path = "build/output.rs"]
mod output;
#[path = "build/random.rs"]
mod random;
#[path = "build/structs.rs"]
mod structs;

fn main() {
    if let Err(why) = output::write_all() {
        eprintln!("schemas: {why}");
        std::process::exit(1);
    }
}
