//! Decoding, folding and rendering, counted in the example `render` of the wires' crate.

use std::process::Command;

use super::Count;
use super::callgrind::{Counted, profiles};

/// Events of each of the example's parts.
const EVENTS: f64 = 1000.0;

/// Counts each part of the example, which was built to be at `program`.
#[must_use]
pub fn count(program: &str) -> Vec<Count> {
    let mut valgrind = Command::new("valgrind");
    let counted = Counted::run(&mut valgrind, &profiles(), "*::end_of_part", &[program]);
    // Before the first part is what the others need.
    let names = counted.said.lines().zip(2..);
    names.map(|(name, number)| Count::new(name, counted.part(number, name) / EVENTS)).collect()
}
