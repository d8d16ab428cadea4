//! The setting `event_source.listen`: which database is served where.
//!
//! `database=address:port, "my db"=[::1]:8444`. Read by the launcher and by every worker, which must
//! agree.

use std::net::SocketAddr;

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub database: String,
    pub address: SocketAddr,
}

/// What is wrong with the setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidListen {
    #[error("\"{0}\" has no \"=\" between database and address")]
    NoAddress(String),
    #[error("a database's name is empty")]
    NoDatabase,
    #[error("a quote is not closed")]
    OpenQuote,
    #[error("\"{0}\" is not an address and a port, such as 127.0.0.1:8443 or [::1]:8443")]
    Address(String),
}

/// Reads the setting; empty entries are skipped.
pub fn parse(setting: &str) -> Result<Vec<Listen>, InvalidListen> {
    let mut list = Vec::new();
    for entry in split(setting)? {
        if entry.trim().is_empty() {
            continue;
        }
        list.push(parse_entry(entry.trim())?);
    }
    Ok(list)
}

/// Splits at the commas outside quotes.
fn split(setting: &str) -> Result<Vec<&str>, InvalidListen> {
    let (mut parts, mut from, mut quoted) = (Vec::new(), 0, false);
    for (at, c) in setting.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(&setting[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    if quoted {
        return Err(InvalidListen::OpenQuote);
    }
    parts.push(&setting[from..]);
    Ok(parts)
}

fn parse_entry(entry: &str) -> Result<Listen, InvalidListen> {
    // The address never holds a "=", a database's name may.
    let (database, address) =
        entry.rsplit_once('=').ok_or_else(|| InvalidListen::NoAddress(entry.to_owned()))?;
    let database = database.trim();
    let database = match database.strip_prefix('"').and_then(|d| d.strip_suffix('"')) {
        // As in an identifier, two quotes are one.
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => database.to_owned(),
    };
    if database.is_empty() {
        return Err(InvalidListen::NoDatabase);
    }
    let address = address.trim();
    let address = address.parse().map_err(|_| InvalidListen::Address(address.to_owned()))?;
    Ok(Listen { database, address })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(database: &str, address: &str) -> Listen {
        let address = address.parse().expect("a valid address");
        Listen { database: database.to_owned(), address }
    }

    #[test]
    fn a_list_of_databases_and_addresses_is_read() {
        let list = parse("app=127.0.0.1:8443, \"my, \"\"db\"\"\"=[::1]:8444,").expect("valid");
        assert_eq!(list, [entry("app", "127.0.0.1:8443"), entry("my, \"db\"", "[::1]:8444")]);
        assert_eq!(parse(" "), Ok(Vec::new()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(parse("app"), Err(InvalidListen::NoAddress("app".to_owned())));
        assert_eq!(parse("app=8443"), Err(InvalidListen::Address("8443".to_owned())));
        assert_eq!(parse("=127.0.0.1:1"), Err(InvalidListen::NoDatabase));
        assert_eq!(parse("\"app=127.0.0.1:1"), Err(InvalidListen::OpenQuote));
    }
}
