//! Random bytes of the operating system, for ids and salts.

use milena_types::Uuid;

use super::FormatError;

/// Fills an array from the system's random source.
pub(super) fn random_bytes<const N: usize>() -> Result<[u8; N], FormatError> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(FormatError::Random(error.into())),
        }
    }
    Ok(bytes)
}

/// A new id for a cluster, a directory or a topic, none of those that Kafka keeps for itself.
///
/// # Errors
/// The system has no random bytes.
pub fn random_uuid() -> Result<Uuid, FormatError> {
    loop {
        if let Some(id) = Uuid::from_random(random_bytes()?) {
            return Ok(id);
        }
    }
}
