//! The enum over all records of the metadata log.

use std::fmt::Write;

use crate::model::Unit;

/// `enum MetadataRecord`, its variants named as the messages without `Record`.
pub(crate) fn render(units: &[Unit]) -> String {
    // Kafka keeps the remote log's own metadata records under the same kind; they are framed alike but live in
    // another topic, with types of their own.
    let mut records: Vec<&Unit> = units
        .iter()
        .filter(|unit| unit.message.kind == "metadata" && !unit.message.name.starts_with("Remote"))
        .collect();
    records.sort_by_key(|unit| unit.message.api_key);
    let mut variants = String::new();
    let mut decoding = String::new();
    let mut encoding = String::new();
    let mut types = String::new();
    let mut highest = String::new();
    let mut conversions = String::new();
    for unit in &records {
        let name = &unit.message.name;
        let variant = name.trim_end_matches("Record");
        let key = unit.message.api_key.unwrap_or_default();
        let _ = writeln!(variants, "    /// `{name}`, type {key}.\n    {variant}({name}),");
        let _ =
            writeln!(decoding, "            {key} => {name}::decode(reader, version).map(MetadataRecord::{variant}),");
        let _ = writeln!(encoding, "            MetadataRecord::{variant}(record) => record.encode(writer, version),");
        let _ = writeln!(types, "            MetadataRecord::{variant}(_) => {key},");
        let _ = writeln!(highest, "            MetadataRecord::{variant}(_) => {name}::MAX_VERSION,");
        let _ = writeln!(
            conversions,
            "impl From<{name}> for MetadataRecord {{\n    fn from(record: {name}) -> MetadataRecord {{\n        \
             MetadataRecord::{variant}(record)\n    }}\n}}\n"
        );
    }
    format!(
        "/// Any record of the metadata log.
#[derive(Clone, Debug, PartialEq)]
pub enum MetadataRecord {{
{variants}}}

impl MetadataRecord {{
    /// The number that names the record's type in its frame (`MetadataRecordType`).
    #[must_use]
    pub fn record_type(&self) -> i16 {{
        match self {{
{types}        }}
    }}

    /// The newest version of the record's schema.
    #[must_use]
    pub fn highest_version(&self) -> i16 {{
        match self {{
{highest}        }}
    }}

    pub(crate) fn decode_body(reader: &mut Reader, record_type: u32, version: i16) -> Result<MetadataRecord, DecodeError> {{
        match record_type {{
{decoding}            _ => Err(DecodeError::UnknownRecordType {{ record_type }}),
        }}
    }}

    pub(crate) fn encode_body(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {{
        match self {{
{encoding}        }}
    }}
}}

{conversions}"
    )
}
