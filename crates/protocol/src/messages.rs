//! The generated messages: a module a message, the top-level structs re-exported here. See `build/`.

#![allow(
    clippy::all,
    clippy::redundant_clone,
    clippy::too_many_lines,
    unused_qualifications,
    unused_parens,
    unreachable_pub,
    reason = "generated code keeps one shape for all schemas"
)]

pub(crate) mod imports {
    //! What generated modules name.
    #![allow(unused_imports, reason = "no message uses all of them")]

    pub(crate) use bytes::Bytes;
    pub(crate) use milena_types::Uuid;

    pub(crate) use crate::{
        ApiKey, DecodeError, EncodeError, Message, RawTaggedField, Reader, Records, Request, Text, Writer,
    };
}

pub use crate::metadata_record::MetadataRecord;

include!(concat!(env!("OUT_DIR"), "/messages.rs"));
