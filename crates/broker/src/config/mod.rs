//! `server.properties` to a typed [`ServerConfig`](https://kafka.apache.org/documentation/#brokerconfigs).
