//! The setting `event_source.allowed_hosts`: by which names clients may address the server.
//!
//! A web page may have its own name resolve to an address of the reader's network (DNS rebinding). To the browser
//! the server is then of the page's origin. Requests of such a page carry the page's name as host; they cannot
//! carry an address, nor `localhost`. So those two are always allowed, and other names where they are listed.
//! It runs in both processes: the worker reads the setting, the server looks at requests.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// The names that are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hosts(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pattern {
    name: Name,
    /// `None` is every port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Name {
    Any,
    Exactly(String),
    /// Every name below this one.
    Below(String),
}

/// An entry of the setting that cannot be a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a host: give a name such as db.example.com, *.example.com or db.example.com:8443, without a scheme"
)]
pub struct InvalidHost(String);

/// Reads the setting: names with commas between them.
///
/// # Errors
/// The first entry that cannot be a host, and so would never match.
pub fn parse(setting: &str) -> Result<Hosts, InvalidHost> {
    let entries = setting.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let read = entries.map(|entry| pattern(entry).ok_or_else(|| InvalidHost(entry.to_owned())));
    Ok(Hosts(read.collect::<Result<_, _>>()?))
}

impl Hosts {
    /// Whether none is listed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a request for this host, a name or an address with or without a port, is listed.
    pub fn list(&self, host: &str) -> bool {
        let Some((name, port)) = split(host) else { return false };
        self.0.iter().any(|pattern| {
            let is_named = match &pattern.name {
                Name::Any => true,
                Name::Exactly(exactly) => *exactly == name,
                Name::Below(parent) => {
                    name.strip_suffix(parent.as_str()).is_some_and(|rest| rest.ends_with('.'))
                }
            };
            is_named && pattern.port.is_none_or(|wanted| port == Some(wanted))
        })
    }
}

/// Whether no page of somebody else's can have this host: an address, or the machine's own name for itself.
pub fn is_own(host: &str) -> bool {
    let Some((name, _)) = split(host) else { return false };
    let is_address = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => name.parse::<Ipv4Addr>().is_ok(),
    };
    is_address || name == "localhost" || name.ends_with(".localhost")
}

fn pattern(entry: &str) -> Option<Pattern> {
    if entry == "*" {
        return Some(Pattern { name: Name::Any, port: None });
    }
    let (name, port) = split(entry)?;
    let (name, is_below) = match name.strip_prefix("*.") {
        Some(parent) => (parent.to_owned(), true),
        None => (name, false),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let is_host = name.split('.').all(is_label) || (!is_below && is_own(&name));
    let name = if is_below { Name::Below(name) } else { Name::Exactly(name) };
    is_host.then_some(Pattern { name, port })
}

/// The name in small letters without the dot that may end it, and the port.
fn split(host: &str) -> Option<(String, Option<u16>)> {
    let (name, port) = match host.rsplit_once(':') {
        // The last colon of an IPv6 address without a port is within the brackets.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port.parse().ok()?)),
        _ => (host, None),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    (!name.is_empty()).then(|| (name.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_name_is_allowed_whatever_its_port_and_case() {
        let hosts = parse("db.example.com, *.shop.example, admin.example:8443").expect("valid");
        for host in [
            "db.example.com",
            "DB.Example.COM:8443",
            "db.example.com.",
            "a.shop.example",
            "a.b.shop.example:1",
            "admin.example:8443",
        ] {
            assert!(hosts.list(host), "{host}");
        }
        for host in [
            "example.com",
            "evil-db.example.com",
            "shop.example",
            "evilshop.example",
            "db.example.com.evil.example",
            "admin.example",
            "admin.example:80",
            "db.example.com:x",
            "",
            ":80",
        ] {
            assert!(!hosts.list(host), "{host}");
        }
        assert!(parse("*").expect("valid").list("any.example:1"));
        assert!(parse(" , ").expect("valid").is_empty());
    }

    #[test]
    fn an_address_and_localhost_are_no_other_pages() {
        for host in
            ["127.0.0.1", "10.0.0.1:8443", "[::1]", "[fe80::1]:8443", "localhost:1", "a.localhost"]
        {
            assert!(is_own(host), "{host}");
        }
        for host in [
            "127.0.0.1.nip.io",
            "localhost.evil.example",
            "mylocalhost",
            "1.2.3",
            "2130706433",
            "[::1].evil.example",
            "[evil]",
            "::1",
            "",
        ] {
            assert!(!is_own(host), "{host}");
        }
    }

    #[test]
    fn what_would_never_match_is_refused() {
        for wrong in [
            "https://db.example.com",
            "db.example.com/",
            "db example",
            "a.*.example",
            "*example.com",
            "db.example.com:port",
            "db;example",
            "*.",
            ".example.com",
        ] {
            assert_eq!(parse(wrong), Err(InvalidHost(wrong.to_owned())));
        }
        assert!(parse("[::1]:8443, 10.0.0.1").is_ok());
    }
}
