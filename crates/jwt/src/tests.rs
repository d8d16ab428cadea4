//! Every algorithm by its own key, and every way to get around one. The keys are of these tests alone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::{Invalid, Key, KeyError, MAX_LENGTH, Verifier, look};

const NOW: i64 = 1_800_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const RSA: [&[u8]; 2] = [include_bytes!("test_keys/rsa.pem"), include_bytes!("test_keys/rsa.pub")];
const P256: [&[u8]; 2] =
    [include_bytes!("test_keys/p256.pem"), include_bytes!("test_keys/p256.pub")];
const P384: [&[u8]; 2] =
    [include_bytes!("test_keys/p384.pem"), include_bytes!("test_keys/p384.pub")];
const ED: [&[u8]; 2] = [include_bytes!("test_keys/ed.pem"), include_bytes!("test_keys/ed.pub")];

fn claims() -> Value {
    json!({ "role": "reader", "exp": NOW + 60, "sub": "u1", "aud": "anybody", "iat": NOW })
}

fn signed(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, key).unwrap()
}

fn by_secret(claims: &Value) -> String {
    signed(Algorithm::HS256, &EncodingKey::from_secret(SECRET), claims)
}

/// Whose role it is, by the key in that file.
fn role(file: &[u8], jwt: &str) -> Result<String, Invalid> {
    let key = Key::from_file(file).unwrap();
    key.verify(jwt, NOW * 1_000_000).map(|verified| verified.role)
}

#[test]
fn the_key_chooses_the_algorithm() {
    let asymmetric = [
        (Algorithm::RS256, EncodingKey::from_rsa_pem(RSA[0]).unwrap(), RSA[1]),
        (Algorithm::ES256, EncodingKey::from_ec_pem(P256[0]).unwrap(), P256[1]),
        (Algorithm::ES384, EncodingKey::from_ec_pem(P384[0]).unwrap(), P384[1]),
        (Algorithm::EdDSA, EncodingKey::from_ed_pem(ED[0]).unwrap(), ED[1]),
    ];
    assert_eq!(role(SECRET, &by_secret(&claims())).as_deref(), Ok("reader"));
    for (algorithm, private, public) in &asymmetric {
        let jwt = signed(*algorithm, private, &claims());
        assert_eq!(role(public, &jwt).as_deref(), Ok("reader"), "{algorithm:?}");
        for (other, _, file) in &asymmetric {
            assert_eq!(role(file, &jwt).is_ok(), algorithm == other, "{algorithm:?} {other:?}");
        }
        assert_eq!(role(SECRET, &jwt), Err(Invalid), "{algorithm:?}");
        // The oldest trick: the public key's text as the shared secret.
        let forged = signed(Algorithm::HS256, &EncodingKey::from_secret(public), &claims());
        assert_eq!(role(public, &forged), Err(Invalid), "{algorithm:?}");
    }
    // The right key with another algorithm of its family.
    let other = signed(Algorithm::RS512, &EncodingKey::from_rsa_pem(RSA[0]).unwrap(), &claims());
    assert_eq!(role(RSA[1], &other), Err(Invalid));
    let other = signed(Algorithm::HS512, &EncodingKey::from_secret(SECRET), &claims());
    assert_eq!(role(SECRET, &other), Err(Invalid));
}

#[test]
fn a_jwt_without_a_signature_is_none() {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for algorithm in ["none", "None", "NONE", ""] {
        let unsigned =
            format!("{}.{}.", part(json!({ "alg": algorithm, "typ": "JWT" })), part(claims()));
        for file in [SECRET, RSA[1]] {
            assert_eq!(role(file, &unsigned), Err(Invalid), "{algorithm}");
        }
    }
    let good = by_secret(&claims());
    let (signed, _) = good.rsplit_once('.').unwrap();
    for bad in ["", "..", "a.b.c", &format!("{signed}."), &format!("{good}A"), &good[1..]] {
        assert_eq!(role(SECRET, bad), Err(Invalid), "{bad}");
    }
}

#[test]
fn what_was_signed_cannot_be_changed() {
    let good = by_secret(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let mut other = claims();
    other["role"] = json!("postgres");
    let payload = URL_SAFE_NO_PAD.encode(other.to_string());
    let forged = format!("{}.{payload}.{}", parts[0], parts[2]);
    assert_eq!(role(SECRET, &forged), Err(Invalid));
    assert_eq!(role(b"another secret, which is long enough", &good), Err(Invalid));
}

#[test]
fn it_has_an_end_and_a_role_and_is_refused_before_and_after_its_time() {
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        role(SECRET, &by_secret(&claims)).is_ok()
    };
    let without = |name: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        role(SECRET, &by_secret(&claims)).is_ok()
    };
    assert!(!without("exp") && !without("role"));
    for bad in [json!(NOW), json!(NOW - 1), json!(-1), json!("2000000000"), json!(null)] {
        assert!(!with("exp", bad.clone()), "exp {bad}");
    }
    assert!(with("exp", json!(NOW + 1)) && with("exp", json!(1e300)));
    assert!(with("exp", json!(NOW as f64 + 0.5)), "a fraction of a second is left");
    for bad in [json!(null), json!(7), json!(["reader"]), json!({})] {
        assert!(!with("role", bad.clone()), "role {bad}");
    }
    assert!(with("nbf", json!(NOW)) && with("nbf", json!(NOW + 4)), "a clock that is ahead");
    for bad in [json!(NOW + 6), json!("0"), json!([])] {
        assert!(!with("nbf", bad.clone()), "nbf {bad}");
    }
}

#[test]
fn an_extension_that_must_be_understood_is_not() {
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["b64".to_owned()]);
    let jwt = encode(&header, &claims(), &EncodingKey::from_secret(SECRET)).unwrap();
    assert_eq!(role(SECRET, &jwt), Err(Invalid));
}

#[test]
fn a_file_that_is_no_key_says_what_it_is() {
    let refused = |file: &[u8]| Key::from_file(file).unwrap_err();
    for private in [RSA[0], P256[0], P384[0], ED[0]] {
        assert_eq!(refused(private), KeyError::Private);
    }
    assert_eq!(refused(include_bytes!("test_keys/weak.pub")), KeyError::RsaSize);
    assert_eq!(refused(include_bytes!("test_keys/p521.pub")), KeyError::Unknown);
    assert_eq!(refused(b"-----BEGIN CERTIFICATE-----\nAAAA\n"), KeyError::Certificate);
    // Damaged, and long enough for a shared secret.
    assert_eq!(refused(&RSA[1][..200]), KeyError::Unknown);
    for short in [&b""[..], b"\n", &SECRET[1..], b"0123456789abcdef0123456789abcde\n"] {
        assert_eq!(refused(short), KeyError::Short);
    }
}

#[test]
fn a_newline_at_the_end_of_a_shared_secret_is_not_part_of_it() {
    let file = [SECRET, b"\n"].concat();
    assert!(role(&file, &by_secret(&claims())).is_ok());
    let two = [SECRET, b"\n\n"].concat();
    assert!(role(&two, &by_secret(&claims())).is_err());
}

#[test]
fn neither_key_nor_secret_is_in_a_debug_line() {
    let shown = format!("{:?}", Key::from_file(SECRET).unwrap());
    assert!(!shown.contains("0123") && shown.contains("HS256"), "{shown}");
}

#[test]
fn without_the_key_it_can_be_said_what_is_no_jwt_or_is_over() {
    let now = NOW * 1_000_000;
    let good = by_secret(&claims());
    assert_eq!(look(&good, now), Ok(()));
    assert_eq!(look(&good, (NOW + 60) * 1_000_000), Err(Invalid), "it is over");
    let without_role = by_secret(&json!({ "exp": NOW + 60 }));
    let long = by_secret(&json!({ "role": "r".repeat(MAX_LENGTH), "exp": NOW + 60 }));
    for bad in ["", "..", "a.b.c", &good[1..], &without_role, &long] {
        assert_eq!(look(bad, now), Err(Invalid), "{bad}");
    }
}

#[test]
fn a_verifier_knows_what_it_verified_until_that_is_over_and_nothing_else() {
    let now = NOW * 1_000_000;
    let mut verifier = Verifier::new(Key::from_file(SECRET).unwrap());
    let good = by_secret(&claims());
    assert_eq!(verifier.known(&good, now), None);
    let verified = verifier.verify(&good, now).unwrap();
    assert_eq!(verifier.known(&good, now), Some(verified.clone()));
    assert_eq!(verifier.known(&good, verified.expires), None);
    assert_eq!(verifier.verify(&good, verified.expires), Err(Invalid));
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    assert_eq!(verifier.verify(&forged, now), Err(Invalid));
    assert_eq!(verifier.known(&forged, now), None);
    // What another key signed is not learnt.
    let mut other = Verifier::new(Key::from_file(P256[1]).unwrap());
    other.learn(&good, &verified);
    assert_eq!(other.known(&good, now), None);
}

#[test]
fn only_a_public_key_may_be_handed_on() {
    assert_eq!(Key::from_file(P256[1]).unwrap().public(), Some(P256[1]));
    assert_eq!(Key::from_file(SECRET).unwrap().public(), None);
}
