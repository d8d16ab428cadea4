//! No bytes and no tree from outside make anybody run out of stack or of memory.

use std::fmt::Debug;
use std::thread;

use event_source_model::bounds::{DEEPEST, MOST, PART, Scales, TooLarge};
use event_source_model::query::{
    Answer, Ask, Binary, Constant, Function, Name, Of, Rows, Shown, Span, Test,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

const SPAN: Span = Span { start: 0, end: 0 };

fn name() -> Name {
    Name { text: "a".to_owned(), span: SPAN }
}

fn column() -> Test {
    Test::Column(name())
}

fn rows(of: Of, filter: Option<Test>) -> Rows {
    Rows { collection: name(), of, filter, shown: Shown::Document }
}

fn filtered(test: Test) -> Ask {
    Ask::Row(rows(Of::All, Some(test)))
}

/// In a thread with less stack than any that decodes or walks such trees.
fn in_little_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(1 << 20).spawn_scoped(scope, work);
        thread.expect("a thread can be started").join().expect("no panic")
    })
}

/// The bytes of a leaf within so many levels, made without ever making the tree.
fn nested<T: Serialize>(leaf: T, wrap: impl Fn(T) -> T, levels: usize) -> Vec<u8> {
    let inside = postcard::to_stdvec(&leaf).expect("it can be encoded");
    let whole = postcard::to_stdvec(&wrap(leaf)).expect("it can be encoded");
    let at = (0..whole.len())
        .find(|&at| whole[at..].starts_with(&inside))
        .expect("what is inside stands in the whole");
    let (before, after) = (&whole[..at], &whole[at + inside.len()..]);
    [before.repeat(levels), inside, after.repeat(levels)].concat()
}

/// Levels that a tree may have are decoded, many more are refused.
#[track_caller]
fn is_bounded<T>(what: &str, leaf: T, wrap: impl Fn(T) -> T)
where
    T: Serialize + DeserializeOwned + Clone + Debug + Send,
{
    let few = nested(leaf.clone(), &wrap, DEEPEST / 2);
    let many = nested(leaf, &wrap, 100_000);
    in_little_stack(|| {
        postcard::from_bytes::<T>(&few).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(postcard::from_bytes::<T>(&many).is_err(), "{what}");
        // The count of levels is back at its beginning.
        postcard::from_bytes::<T>(&few).unwrap_or_else(|error| panic!("{what}: {error}"));
    });
}

#[test]
fn bytes_that_are_nested_too_deeply_are_refused_wherever_a_type_contains_itself() {
    let null = || Constant::Null;
    let unused = "leaf".to_owned();
    is_bounded("an array of constants", Constant::Text(unused.clone()), |of| {
        Constant::Array(vec![of])
    });
    is_bounded("an object of constants", Constant::Text(unused.clone()), |of| {
        Constant::Object(vec![("x".to_owned(), of)])
    });
    is_bounded("an array of a query", Ask::Plural(name()), |of| Ask::Array(vec![of]));
    is_bounded("an object of a query", Ask::Plural(name()), |of| {
        Ask::Object(vec![("x".to_owned(), of)])
    });
    let first = |of| Of::First { of: Box::new(of), filter: None, span: SPAN };
    is_bounded("the first of rows", Of::Key { key: null(), span: SPAN }, first);
    is_bounded("not", column(), |of| Test::Not(Box::new(of)));
    is_bounded("minus", column(), |of| Test::Minus(Box::new(of)));
    let other = || Box::new(Test::Constant(null(), SPAN));
    is_bounded("on the left", column(), |of| Test::Binary(Binary::Add, Box::new(of), other()));
    is_bounded("on the right", column(), |of| Test::Binary(Binary::Add, other(), Box::new(of)));
    is_bounded("in a list", column(), |of| Test::In(Box::new(of), vec![null()], SPAN));
    is_bounded("an operand", column(), |of| Test::Call(Function::Length, vec![of], SPAN));
    is_bounded("an array of answers", Answer::EventSource(unused.clone()), |of| {
        Answer::Array(vec![of])
    });
    is_bounded("an object of answers", Answer::EventSource(unused), |of| {
        Answer::Object(vec![("x".to_owned(), of)])
    });
}

#[test]
fn a_tree_is_weighed_and_refused_when_it_is_deep_or_wide() {
    let deep = (0..DEEPEST).fold(column(), |of, _| Test::Not(Box::new(of)));
    assert_eq!(Scales::check(&filtered(deep)), Err(TooLarge::Deep));
    let list = |items: usize| Test::In(Box::new(column()), vec![Constant::Null; items], SPAN);
    assert_eq!(Scales::check(&filtered(list(1_000))), Ok(()));
    assert_eq!(Scales::check(&filtered(list(MOST / PART))), Err(TooLarge::Wide));
    let long = Constant::Text("x".repeat(MOST));
    assert_eq!(Scales::check(&Ask::Constant(long)), Err(TooLarge::Wide));
}

#[test]
fn scales_are_for_all_that_is_put_on_them() {
    let mut scales = Scales::default();
    let constant = Constant::Text("x".repeat(MOST / 3));
    assert_eq!(scales.constant(&constant), Ok(()));
    assert_eq!(scales.constant(&constant), Ok(()));
    assert_eq!(scales.constant(&constant), Err(TooLarge::Wide));
    let filter = Test::Constant(constant, SPAN);
    assert_eq!(scales.rows(&rows(Of::All, Some(filter))), Err(TooLarge::Wide));
}

#[test]
fn many_tests_are_joined_to_a_tree_that_is_hardly_deep() {
    assert_eq!(Test::joined(Binary::And, Vec::new()), None);
    assert_eq!(Test::joined(Binary::And, vec![column()]), Some(column()));
    let many = Test::joined(Binary::And, vec![column(); 20_000]).expect("there are some");
    in_little_stack(|| assert_eq!(Scales::check(&filtered(many)), Ok(())));
}

#[test]
fn bytes_of_more_parts_than_a_query_may_have_are_refused_while_they_are_decoded() {
    let few = Ask::Array((0..MOST / PART).map(|_| Ask::Constant(Constant::Null)).collect());
    let many = Ask::Array((0..=MOST / PART).map(|_| Ask::Constant(Constant::Null)).collect());
    let of_lists = Ask::Array(
        (0..300)
            .map(|_| Ask::Array((0..300).map(|_| Ask::Constant(Constant::Null)).collect()))
            .collect(),
    );
    for (ask, fits) in [(few, true), (many, false), (of_lists, false)] {
        let bytes = postcard::to_stdvec(&ask).expect("plain data");
        assert_eq!(postcard::from_bytes::<Ask>(&bytes).is_ok(), fits, "{} bytes", bytes.len());
    }
}
