//! The setting `event_source.protocols`: what is served.
//!
//! A protocol that is not named is not there: its routes are answered like paths that nobody knows, with a hint. The
//! default names the protocols whose clients bring a token.

use serde::{Deserialize, Serialize};

/// One name of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Streams, WebSockets and feeds under `/v1`.
    Native,
    /// Streams and feeds of Fauna v10.
    Fauna,
    /// Queries of Fauna v10.
    FaunaQuery,
    /// Streams of Fauna v4.
    FaunaV4,
    /// Subscriptions of Directus.
    Directus,
    /// Change streams of LoopBack.
    Loopback,
}

impl Protocol {
    pub const ALL: [Self; 6] = [
        Self::Native,
        Self::Fauna,
        Self::FaunaQuery,
        Self::FaunaV4,
        Self::Directus,
        Self::Loopback,
    ];

    /// Its name in the setting.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Fauna => "fauna",
            Self::FaunaQuery => "fauna_query",
            Self::FaunaV4 => "fauna_v4",
            Self::Directus => "directus",
            Self::Loopback => "loopback",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The protocols that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocols(u8);

impl Protocols {
    /// The setting's default.
    pub const DEFAULT: &str = "native, fauna";

    /// All of them.
    pub fn all() -> Self {
        Protocol::ALL.into_iter().collect()
    }

    pub fn has(self, protocol: Protocol) -> bool {
        self.0 & protocol.bit() != 0
    }
}

impl Default for Protocols {
    fn default() -> Self {
        [Protocol::Native, Protocol::Fauna].into_iter().collect()
    }
}

impl FromIterator<Protocol> for Protocols {
    fn from_iter<I: IntoIterator<Item = Protocol>>(protocols: I) -> Self {
        Self(protocols.into_iter().fold(0, |bits, protocol| bits | protocol.bit()))
    }
}

/// A name in the setting that is no protocol's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a protocol; there are {names}", names = names())]
pub struct UnknownProtocol(String);

/// Reads the setting: names with commas between them.
///
/// # Errors
/// The first name that is unknown.
pub fn parse(setting: &str) -> Result<Protocols, UnknownProtocol> {
    let names = setting.split(',').map(str::trim).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let known = Protocol::ALL.into_iter().find(|p| p.name().eq_ignore_ascii_case(name));
            known.ok_or_else(|| UnknownProtocol(name.to_owned()))
        })
        .collect()
}

fn names() -> String {
    Protocol::ALL.map(Protocol::name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_what_its_text_says() {
        assert_eq!(parse(Protocols::DEFAULT), Ok(Protocols::default()));
    }

    #[test]
    fn each_name_switches_on_its_protocol_and_no_other() {
        for protocol in Protocol::ALL {
            let read = parse(protocol.name()).expect("a name");
            let served: Vec<_> = Protocol::ALL.into_iter().filter(|p| read.has(*p)).collect();
            assert_eq!(served, [protocol]);
        }
        assert_eq!(parse(" Native ,,FAUNA"), Ok(Protocols::default()));
        assert_eq!(parse(&names()), Ok(Protocols::all()));
        assert_eq!(parse(""), Ok([].into_iter().collect()));
    }

    #[test]
    fn a_name_that_is_no_protocols_is_said() {
        for wrong in ["nativ", "native fauna", "native;fauna", "*", "all"] {
            let error = parse(&format!("fauna, {wrong}")).expect_err("unknown");
            assert_eq!(error, UnknownProtocol(wrong.to_owned()));
            assert!(error.to_string().contains("there are native, fauna, fauna_query, fauna_v4"));
        }
    }
}
