//! Credentials in a text: gone from it, and nothing else.

use event_source_model::discreet::{hide_credentials, holds_credential};
use proptest::prelude::*;

fn hidden(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let length = hide_credentials(&mut bytes);
    String::from_utf8(bytes[..length].to_vec()).expect("only ASCII was taken out")
}

#[test]
fn what_is_behind_the_prefix_is_hidden_and_the_rest_stays() {
    let token = format!("est_{}", "aB3-_".repeat(20));
    let secret = format!("ess_{}", "x9-".repeat(14) + "_");
    let text = format!("SELECT event_page('{token}', 'c'), f('{secret}') -- est_short é");
    assert!(holds_credential(text.as_bytes()));
    assert_eq!(hidden(&text), "SELECT event_page('est_...', 'c'), f('ess_...') -- est_short é");
    assert_eq!(hidden(&token), "est_...");
    assert_eq!(hidden(&format!("{token} {token}")), "est_... est_...");
}

#[test]
fn a_text_without_credentials_stays_as_it_is() {
    let name = "test_a_name_as_long_as_PostgreSQL_lets_one_be_which_is_63_bytes";
    for text in ["", "_", "est_", "ess_short", "guest_book", name] {
        assert!(!holds_credential(text.as_bytes()), "{text}");
        assert_eq!(hidden(text), text);
    }
}

proptest! {
    #[test]
    fn no_text_keeps_a_credential(
        parts in prop::collection::vec("[ -~é]{0,30}", 0..6),
        credentials in prop::collection::vec("(est|ess)_[A-Za-z0-9_-]{40,80}", 0..6),
    ) {
        let mut text = String::new();
        for (number, part) in parts.iter().enumerate() {
            text.push_str(part);
            text.push('\'');
            text.push_str(credentials.get(number).map_or("", |c| c));
            text.push('\'');
        }
        let shown = hidden(&text);
        for credential in credentials.iter().take(parts.len()) {
            prop_assert!(!shown.contains(credential.as_str()), "{shown}");
        }
        prop_assert!(!holds_credential(shown.as_bytes()), "{shown}");
        prop_assert!(shown.len() <= text.len());
    }
}
