//! One entry of `listeners`: `NAME://host:port`.
//!
//! Kafka: `SocketServerConfigs.listenerListToEndPoints`, `org.apache.kafka.common.Endpoint`.

use std::collections::BTreeMap;
use std::fmt;

use milena_protocol::messages::{broker_registration_request, controller_registration_request};

/// What protects a listener. Kafka: `SecurityProtocol`; the numbers go over the wire and into records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i16)]
pub enum SecurityProtocol {
    Plaintext = 0,
    Ssl = 1,
    SaslPlaintext = 2,
    SaslSsl = 3,
}

impl SecurityProtocol {
    /// The protocol of this name; upper and lower case are one.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl]
            .into_iter()
            .find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// The number in `RegisterBrokerRecord` and requests.
    pub const fn code(self) -> i16 {
        self as i16
    }
}

/// A listener: a name, an address and a protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Upper case.
    pub name: String,
    /// Without brackets; empty means every interface.
    pub host: String,
    /// 0 lets the system choose.
    pub port: u16,
    pub protocol: SecurityProtocol,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.name, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.name, self.host, self.port)
        }
    }
}

/// Parses one entry; `protocols` maps listener names to protocols.
///
/// # Errors
/// Kafka's text.
pub(super) fn parse_endpoint(entry: &str, protocols: &BTreeMap<String, SecurityProtocol>) -> Result<Endpoint, String> {
    let unable = || format!("Unable to parse {entry} to a broker endpoint");
    let (name, address) = entry.rsplit_once("://").ok_or_else(unable)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(unable)?;
    let bare = host.strip_prefix('[').unwrap_or(host);
    let bare = bare.strip_suffix(']').unwrap_or(bare);
    if !bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-%._:".contains(&byte)) {
        return Err(unable());
    }
    let port = port.parse::<u16>().map_err(|_| unable())?;
    let name = name.to_uppercase();
    let Some(protocol) = protocols.get(&name) else {
        return Err(format!("No security protocol defined for listener {name}"));
    };
    Ok(Endpoint { name, host: bare.to_owned(), port, protocol: *protocol })
}

/// Parses the value of `listeners` or `advertised.listeners`.
///
/// # Errors
/// Kafka's text: an entry cannot be parsed, two have one name, or (with `distinct_ports`) one port.
pub(super) fn parse_endpoints(
    entries: &[String],
    protocols: &BTreeMap<String, SecurityProtocol>,
    distinct_ports: bool,
) -> Result<Vec<Endpoint>, String> {
    // Kafka prints the list as Java does.
    let all = format!("[{}]", entries.join(", "));
    read_endpoints(entries, protocols, distinct_ports, &all)
        .map_err(|reason| format!("Error creating broker listeners from '{all}': {reason}"))
}

fn read_endpoints(
    entries: &[String],
    protocols: &BTreeMap<String, SecurityProtocol>,
    distinct_ports: bool,
    all: &str,
) -> Result<Vec<Endpoint>, String> {
    let mut endpoints: Vec<Endpoint> = Vec::with_capacity(entries.len());
    for entry in entries {
        endpoints.push(parse_endpoint(entry, protocols)?);
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        if endpoints.iter().skip(index + 1).any(|other| other.name == endpoint.name) {
            return Err(format!("Each listener must have a different name, listeners: {all}"));
        }
    }
    if distinct_ports {
        check_ports(&endpoints, all)?;
    }
    Ok(endpoints)
}

/// One port may serve two listeners only if one is bound to an IPv4 and the other to an IPv6 address.
fn check_ports(endpoints: &[Endpoint], all: &str) -> Result<(), String> {
    let mut by_port: BTreeMap<u16, Vec<&Endpoint>> = BTreeMap::new();
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.port != 0) {
        by_port.entry(endpoint.port).or_default().push(endpoint);
    }
    for (port, sharing) in by_port.iter().filter(|(_, sharing)| sharing.len() > 1) {
        let (numbered, named): (Vec<&Endpoint>, Vec<&Endpoint>) =
            sharing.iter().copied().partition(|endpoint| ip_version(endpoint).is_some());
        if named.len() > 1 {
            return Err(format!("Each listener must have a different port, listeners: {all}"));
        }
        match numbered.as_slice() {
            [] => {}
            [first, second] if ip_version(first) != ip_version(second) && named.is_empty() => {}
            [_, _] => {
                return Err(format!(
                    "If you have two listeners on the same port then one needs to be IPv4 and the other IPv6, listeners: {all}, port: {port}"
                ));
            }
            _ => {
                return Err(format!(
                    "Each listener must have a different port unless exactly one listener has an IPv4 address and the other IPv6 address, listeners: {all}, port: {port}"
                ));
            }
        }
    }
    Ok(())
}

fn ip_version(endpoint: &Endpoint) -> Option<bool> {
    endpoint.host.parse::<std::net::IpAddr>().ok().map(|address| address.is_ipv4())
}

/// Registrations of brokers and of controllers say the same in types of their own.
macro_rules! in_registrations {
    ($request:ident) => {
        impl From<&Endpoint> for $request::Listener {
            fn from(endpoint: &Endpoint) -> Self {
                Self {
                    name: endpoint.name.as_str().into(),
                    host: endpoint.host.as_str().into(),
                    port: endpoint.port,
                    security_protocol: endpoint.protocol.code(),
                    ..Self::default()
                }
            }
        }
    };
}

in_registrations!(broker_registration_request);
in_registrations!(controller_registration_request);
