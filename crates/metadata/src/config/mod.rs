//! Kafka's configuration keys: their definitions, how values are parsed, validated and refused.
