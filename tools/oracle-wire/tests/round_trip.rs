//! Every message in every version survives decoding and encoding, and any cut of it is a typed error.

use bytes::Bytes;
use milena_protocol::random::{MESSAGES, Random, RecodeError};

#[test]
fn random_messages_of_every_version_come_back_byte_for_byte() {
    for entry in MESSAGES {
        for version in entry.min_version..=entry.max_version {
            for seed in 0..20 {
                let bytes = (entry.random)(&mut Random::new(seed), version).unwrap();
                let again = (entry.recode)(bytes.clone(), version);
                assert_eq!(again, Ok(bytes), "{} version {version} seed {seed}", entry.name);
            }
        }
    }
}

#[test]
fn a_message_cut_at_any_byte_is_a_decode_error() {
    for entry in MESSAGES {
        for version in entry.min_version..=entry.max_version {
            let bytes = (entry.random)(&mut Random::new(7), version).unwrap();
            for cut in 0..bytes.len() {
                let outcome = (entry.recode)(bytes.slice(..cut), version);
                assert!(
                    matches!(outcome, Err(RecodeError::Decode(_))),
                    "{} version {version} cut at {cut}: {outcome:?}",
                    entry.name
                );
            }
        }
    }
}

#[test]
fn versions_outside_the_schema_are_refused() {
    for entry in MESSAGES {
        for version in [entry.min_version - 1, entry.max_version + 1, i16::MIN, i16::MAX] {
            assert!((entry.recode)(Bytes::from_static(&[0; 64]), version).is_err(), "{}", entry.name);
            assert!((entry.random)(&mut Random::new(1), version).is_err(), "{}", entry.name);
        }
    }
}
