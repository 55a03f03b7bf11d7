//! What Kafka looks at before it takes any partition of a produce request: whether a first batch is transactional
//! (`RequestUtils.hasTransactionalRecords`). A front that cannot be read, or a transaction without a transactional id,
//! refuses the whole request.

use milena_protocol::Records;
use milena_protocol::messages::ProduceRequest;
use milena_protocol::messages::produce_response::PartitionProduceResponse;
use milena_types::ErrorCode;

/// The smallest length field a batch of any format can have.
const LENGTH_MIN: i32 = 14;
/// Offset and length, which the length field does not count.
const LOG_OVERHEAD_BYTES: usize = 12;
const MAGIC_AT: usize = 16;
/// The low byte of a batch's attributes, and its bit for transactions.
const ATTRIBUTES_AT: usize = 22;
const TRANSACTIONAL: u8 = 0x10;

/// Why a whole request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    error: ErrorCode,
    message: Option<String>,
}

/// The reason to refuse a request, if there is one.
pub(super) fn of(request: &ProduceRequest) -> Option<Refusal> {
    for data in request.topic_data.iter().flat_map(|topic| &topic.partition_data) {
        let Some(Records::Bytes(bytes)) = &data.records else { continue };
        match is_transactional(bytes) {
            Ok(false) => {}
            // Whoever has a transactional id may use it: there is no authorizer.
            Ok(true) if request.transactional_id.is_some() => return None,
            Ok(true) => {
                return Some(Refusal { error: ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, message: None });
            }
            Err(message) => return Some(Refusal { error: ErrorCode::CORRUPT_MESSAGE, message: Some(message) }),
        }
    }
    None
}

impl Refusal {
    /// The answer for one partition.
    pub(super) fn answer(&self, index: i32) -> PartitionProduceResponse {
        PartitionProduceResponse {
            index,
            error_code: self.error.0,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            error_message: self.message.as_deref().map(Into::into),
            ..Default::default()
        }
    }
}

/// Whether the first batch is one of a transaction; the message of Kafka's exception if its front makes no sense. Too few
/// bytes are no batch, which is found later.
fn is_transactional(bytes: &[u8]) -> Result<bool, String> {
    let length = bytes.get(8..LOG_OVERHEAD_BYTES).and_then(<[u8]>::first_chunk);
    let Some(length) = length.map(|length| i32::from_be_bytes(*length)) else { return Ok(false) };
    if length < LENGTH_MIN {
        return Err(format!("Record size {length} is less than the minimum record overhead ({LENGTH_MIN})"));
    }
    let Some(magic) = bytes.get(MAGIC_AT).map(|byte| byte.cast_signed()) else { return Ok(false) };
    if !(0..=2).contains(&magic) {
        return Err(format!("Invalid magic found in record: {magic}"));
    }
    let is_whole = usize::try_from(length).is_ok_and(|length| bytes.len() - LOG_OVERHEAD_BYTES >= length);
    Ok(magic == 2 && is_whole && bytes.get(ATTRIBUTES_AT).is_some_and(|byte| byte & TRANSACTIONAL != 0))
}

#[cfg(test)]
mod tests {
    use super::is_transactional;

    /// A front with this length and magic, and `attributes` as its low byte, of 40 bytes.
    fn front(length: i32, magic: i8, attributes: u8) -> Vec<u8> {
        let mut bytes = vec![0; 40];
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = magic.cast_unsigned();
        bytes[22] = attributes;
        bytes
    }

    #[test]
    fn only_a_whole_batch_of_magic_2_is_transactional() {
        assert_eq!(is_transactional(&front(28, 2, 0x10)), Ok(true));
        assert_eq!(is_transactional(&front(28, 2, 0x2f)), Ok(false));
        assert_eq!(is_transactional(&front(29, 2, 0x10)), Ok(false), "cut");
        assert_eq!(is_transactional(&front(28, 1, 0x10)), Ok(false), "an old format");
        for short in 0..16 {
            assert_eq!(is_transactional(&front(28, 2, 0x10)[..short]), Ok(false), "{short} bytes");
        }
    }

    #[test]
    fn fronts_that_make_no_sense_are_refused_in_kafkas_words() {
        assert_eq!(is_transactional(&front(28, 3, 0)), Err("Invalid magic found in record: 3".to_owned()));
        assert_eq!(is_transactional(&front(28, -1, 0)), Err("Invalid magic found in record: -1".to_owned()));
        let short = "Record size 13 is less than the minimum record overhead (14)".to_owned();
        assert_eq!(is_transactional(&front(13, 2, 0)), Err(short));
    }
}
