//! Tokens: what was signed is read, and nothing else is.

use event_source_model::source::{Definition, Filter, Named, Set, Source, Start, Types, Watch};
use event_source_model::token::{MAX_LENGTH, PREFIX, SigningKey, TokenError, sign, verify};
use proptest::prelude::*;

fn key(id: u32, byte: u8) -> SigningKey {
    SigningKey { id, bytes: vec![byte; 32] }
}

fn named() -> impl Strategy<Value = Named> {
    (any::<u32>(), ".{0,20}").prop_map(|(oid, name)| Named { oid, name })
}

fn set() -> impl Strategy<Value = Set> {
    let terms = proptest::collection::vec(proptest::option::of(".{0,10}"), 0..4);
    prop_oneof![
        Just(Set::Collection),
        (named(), any::<u64>(), terms).prop_map(|(index, shape, terms)| Set::Index {
            index,
            shape,
            terms
        }),
        proptest::collection::vec(".{0,10}", 1..3).prop_map(|key| Set::Row { key }),
    ]
}

fn source() -> impl Strategy<Value = Source> {
    let filter = (".{0,60}", proptest::collection::vec((any::<i16>(), ".{0,8}"), 0..3))
        .prop_map(|(expression, columns)| Filter { expression, columns });
    let numbers = || proptest::option::of(proptest::collection::vec(any::<i16>(), 0..5));
    let watch = (numbers(), any::<bool>())
        .prop_map(|(columns, of_rows)| columns.map(|columns| Watch { columns, of_rows }));
    let flags = any::<[bool; 4]>().prop_map(|[add, update, remove, every_delete]| {
        (Types { add, update, remove }, every_delete)
    });
    let collection = (any::<u64>(), any::<u32>());
    let definition =
        (collection, set(), proptest::option::of(filter), numbers(), watch, flags, named())
            .prop_map(
                |(
                    (collection, generation),
                    set,
                    filter,
                    fields,
                    watch,
                    (types, every_delete),
                    role,
                )| {
                    Definition {
                        collection,
                        generation,
                        set,
                        filter,
                        fields,
                        projection: None,
                        watch,
                        types,
                        every_delete,
                        role,
                    }
                },
            );
    let start = (any::<i64>(), proptest::collection::vec(any::<i64>(), 0..20))
        .prop_map(|(closed, seen)| Start { closed, seen });
    let names = proptest::collection::vec(".{0,8}", 0..5);
    let index = any::<Option<u64>>();
    let ids = (any::<u64>(), any::<u64>(), any::<u64>());
    (ids, definition, names, index, any::<Option<i64>>(), start).prop_map(
        |((id, history, cluster), definition, columns, index, expires, start)| Source {
            id,
            history,
            cluster,
            definition,
            columns,
            index,
            expires,
            start,
        },
    )
}

/// Reads with one key known, number 7.
fn read(text: &str, key: SigningKey) -> Result<Source, TokenError> {
    verify(text, |id| Ok((id == 7).then_some(key)))
}

proptest! {
    #[test]
    fn a_signed_source_is_read_back(source in source()) {
        let token = sign(&source, &key(7, 1)).expect("short");
        prop_assert!(token.starts_with(PREFIX) && token.len() <= MAX_LENGTH);
        prop_assert_eq!(read(&token, key(7, 1)), Ok(source));
    }

    #[test]
    fn another_key_reads_nothing(source in source()) {
        let token = sign(&source, &key(7, 1)).expect("short");
        prop_assert_eq!(read(&token, key(7, 2)), Err(TokenError::Invalid));
        let unknown = sign(&source, &key(8, 1)).expect("short");
        prop_assert_eq!(read(&unknown, key(7, 1)), Err(TokenError::Invalid));
    }

    #[test]
    fn a_token_changed_in_one_letter_is_invalid(
        source in source(),
        at: prop::sample::Index,
        letter in "[A-Za-z0-9_-]",
    ) {
        let token = sign(&source, &key(7, 1)).expect("short");
        let at = at.index(token.len());
        let mut forged = token.clone();
        forged.replace_range(at..=at, &letter);
        prop_assume!(forged != token);
        prop_assert_eq!(read(&forged, key(7, 1)), Err(TokenError::Invalid));
    }

    #[test]
    fn a_token_cut_short_or_continued_is_invalid(source in source(), cut in 1usize..40) {
        let token = sign(&source, &key(7, 1)).expect("short");
        let short = &token[..token.len() - cut.min(token.len())];
        prop_assert_eq!(read(short, key(7, 1)), Err(TokenError::Invalid));
        let long = token.clone() + &"A".repeat(cut);
        prop_assert_eq!(read(&long, key(7, 1)), Err(TokenError::Invalid));
    }

    #[test]
    fn no_text_makes_reading_panic(text: String) {
        prop_assert_eq!(read(&text, key(7, 1)), Err(TokenError::Invalid));
        prop_assert_eq!(read(&format!("{PREFIX}{text}"), key(7, 1)), Err(TokenError::Invalid));
    }
}

#[test]
fn a_source_that_makes_too_long_a_token_is_refused() {
    let role = Named { oid: 1, name: "x".repeat(MAX_LENGTH) };
    let definition = Definition {
        collection: 1,
        generation: 0,
        set: Set::Collection,
        filter: None,
        fields: None,
        projection: None,
        watch: None,
        types: Types::ALL,
        every_delete: false,
        role,
    };
    let start = Start { closed: 0, seen: Vec::new() };
    let source = Source {
        id: 1,
        history: 1,
        cluster: 1,
        definition,
        columns: Vec::new(),
        index: None,
        expires: None,
        start,
    };
    assert_eq!(sign(&source, &key(7, 1)), Err(TokenError::TooLong));
}

#[test]
fn a_key_is_never_shown() {
    let shown = format!("{:?}", key(7, 65));
    assert!(!shown.contains("65") && shown.contains('7'), "{shown}");
}
