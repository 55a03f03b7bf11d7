//! SCRAM credentials given to `format --add-scram`.
//!
//! Kafka: `ScramParser`, `ScramFormatter` (RFC 5802). Passwords are taken as they are, without SASLprep.

use std::collections::BTreeMap;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use milena_protocol::messages::UserScramCredentialRecord;
use sha2::{Digest, Sha256, Sha512};

use super::FormatError;
use super::random::random_bytes;

const ITERATIONS_MIN: i32 = 4096;
const ITERATIONS_MAX: i32 = 16384;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mechanism {
    Sha256,
    Sha512,
}

impl Mechanism {
    /// The number in the record. Kafka: `ScramMechanism.type`.
    const fn code(self) -> i8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    /// Kafka's name of the constant, as its messages have it.
    const fn constant_name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM_SHA_256",
            Self::Sha512 => "SCRAM_SHA_512",
        }
    }

    fn hash(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    fn mac(self, key: &[u8], data: &[u8]) -> Result<Vec<u8>, FormatError> {
        let failed = |_| FormatError::refused("the key cannot be used for HMAC");
        Ok(match self {
            Self::Sha256 => {
                Hmac::<Sha256>::new_from_slice(key).map_err(failed)?.chain_update(data).finalize().into_bytes().to_vec()
            }
            Self::Sha512 => {
                Hmac::<Sha512>::new_from_slice(key).map_err(failed)?.chain_update(data).finalize().into_bytes().to_vec()
            }
        })
    }

    fn salted_password(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        match self {
            Self::Sha256 => pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, iterations).to_vec(),
            Self::Sha512 => pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password, salt, iterations).to_vec(),
        }
    }
}

/// The record of `MECHANISM=[name=...,password=...]`.
pub(super) fn credential(argument: &str) -> Result<UserScramCredentialRecord, FormatError> {
    let refused = |text: String| FormatError::Refused(text);
    let (name, config) = argument
        .split_once('=')
        .ok_or_else(|| refused(format!("Failed to find equals sign in SCRAM argument '{argument}'")))?;
    let mechanism = match name {
        "SCRAM-SHA-256" => Mechanism::Sha256,
        "SCRAM-SHA-512" => Mechanism::Sha512,
        _ => return Err(refused(format!("The add-scram mechanism {name} is not supported."))),
    };
    let config = config
        .strip_prefix('[')
        .ok_or_else(|| FormatError::refused("Expected configuration string to start with ["))?;
    let config =
        config.strip_suffix(']').ok_or_else(|| FormatError::refused("Expected configuration string to end with ]"))?;
    let mut parts = components(config)?;
    let user = parts.remove("name").ok_or_else(|| FormatError::refused("You must supply 'name' to add-scram"))?;
    let salt = match parts.remove("salt") {
        Some(text) => decode_base64(&text).ok_or_else(|| refused(format!("Failed to decode given salt: {text}")))?,
        None => random_bytes::<24>()?.to_vec(),
    };
    let salted = salted_password(mechanism, &mut parts, &salt)?;
    if !parts.is_empty() {
        let names: Vec<String> = parts.into_keys().collect();
        return Err(refused(format!("Unknown SCRAM configurations: {}", names.join(", "))));
    }
    let client_key = mechanism.mac(&salted.password, b"Client Key")?;
    Ok(UserScramCredentialRecord {
        name: user.as_str().into(),
        mechanism: mechanism.code(),
        salt: Bytes::from(salt),
        stored_key: Bytes::from(mechanism.hash(&client_key)),
        server_key: Bytes::from(mechanism.mac(&salted.password, b"Server Key")?),
        iterations: salted.iterations,
        ..UserScramCredentialRecord::default()
    })
}

struct Salted {
    password: Vec<u8>,
    iterations: i32,
}

fn salted_password(
    mechanism: Mechanism,
    parts: &mut BTreeMap<String, String>,
    salt: &[u8],
) -> Result<Salted, FormatError> {
    let iterations = match parts.remove("iterations") {
        Some(text) => {
            text.parse().map_err(|_| FormatError::refused(format!("Failed to parse iterations count: {text}")))?
        }
        None => ITERATIONS_MIN,
    };
    let limit = |relation: &str, bound: i32| {
        FormatError::refused(format!(
            "The 'iterations' value must be {relation} {bound} for add-scram using {}",
            mechanism.constant_name()
        ))
    };
    if iterations < ITERATIONS_MIN {
        return Err(limit(">=", ITERATIONS_MIN));
    }
    if iterations > ITERATIONS_MAX {
        return Err(limit("<=", ITERATIONS_MAX));
    }
    let given = parts.remove("saltedpassword");
    let password = match (parts.remove("password"), given) {
        (Some(password), _) => mechanism.salted_password(password.as_bytes(), salt, iterations.unsigned_abs()),
        (None, Some(text)) => decode_base64(&text)
            .ok_or_else(|| FormatError::refused(format!("Failed to decode given saltedPassword: {text}")))?,
        (None, None) => {
            return Err(FormatError::refused("You must supply one of 'password' or 'saltedpassword' to add-scram"));
        }
    };
    Ok(Salted { password, iterations })
}

fn components(config: &str) -> Result<BTreeMap<String, String>, FormatError> {
    let mut parts = BTreeMap::new();
    for component in config.split(',') {
        let (name, value) = component
            .split_once('=')
            .ok_or_else(|| FormatError::refused(format!("No equals sign found in SCRAM component: {component}")))?;
        let value = value.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(value);
        parts.insert(name.to_owned(), value.to_owned());
    }
    if !parts.contains_key("password") && parts.contains_key("saltedpassword") && !parts.contains_key("salt") {
        return Err(FormatError::refused("You must supply 'salt' with 'saltedpassword' to add-scram"));
    }
    Ok(parts)
}

/// Standard base64, padded or not; `None` for anything else.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0u32);
    for byte in text.trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(six)) & 0xff_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_kafkas_tool_writes() {
        // Written by kafka-storage.sh format --add-scram 'SCRAM-SHA-256=[name=alice,password=secret]'.
        let record =
            credential("SCRAM-SHA-256=[name=alice,salt=b2cydDdidWRvdWg3MWlqNjBibndreno5MA==,password=secret]").unwrap();
        assert_eq!(Some(record.stored_key.to_vec()), decode_base64("HKoDxkHLai57csPDaEsRBshJUMEtiEQ//YuR53WvieQ="));
        assert_eq!(Some(record.server_key.to_vec()), decode_base64("frVbY3/P4P/T/6cfjeMRX4qGXQYKomYYCErF5zQKdYY="));
        assert_eq!((record.mechanism, record.iterations), (1, 4096));
        assert_eq!(record.salt.as_ref(), b"og2t7budouh71ij60bnwkzz90");
    }

    #[test]
    fn wrong_arguments_are_refused_in_kafkas_words() {
        let refusal = |argument: &str| credential(argument).unwrap_err().to_string();
        assert_eq!(
            refusal("SCRAM-SHA-256=[name=alice]"),
            "You must supply one of 'password' or 'saltedpassword' to add-scram"
        );
        assert_eq!(refusal("FOO=[name=alice,password=x]"), "The add-scram mechanism FOO is not supported.");
        assert_eq!(refusal("SCRAM-SHA-256=[password=x]"), "You must supply 'name' to add-scram");
        assert_eq!(
            refusal("SCRAM-SHA-256=[name=a,password=x,iterations=5]"),
            "The 'iterations' value must be >= 4096 for add-scram using SCRAM_SHA_256"
        );
    }
}
