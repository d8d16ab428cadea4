//! Measuring by turns, so that what the machine does meanwhile meets all subjects alike.

/// Measures every subject once a round, in the same order, and gives each one's samples. The
/// subjects' names are for whoever watches.
pub fn turns(rounds: usize, subjects: &mut [(&str, &mut dyn FnMut() -> f64)]) -> Vec<Vec<f64>> {
    turns_of(rounds, subjects, |(name, _)| *name, |(_, measure)| measure())
}

/// The same, where one function measures all of them.
#[expect(clippy::print_stderr, reason = "a benchmark takes minutes: it says how far it is")]
pub fn turns_of<S>(
    rounds: usize,
    subjects: &mut [S],
    name: impl Fn(&S) -> &str,
    mut measure: impl FnMut(&mut S) -> f64,
) -> Vec<Vec<f64>> {
    let mut measured = vec![Vec::with_capacity(rounds); subjects.len()];
    for round in 1..=rounds {
        for (subject, samples) in subjects.iter_mut().zip(&mut measured) {
            let sample = measure(subject);
            eprintln!("  {round}/{rounds} {}: {sample:.4}", name(subject));
            samples.push(sample);
        }
    }
    measured
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn subjects_take_turns() {
        let order = RefCell::new(Vec::new());
        let take = |name: &'static str| {
            order.borrow_mut().push(name);
            order.borrow().len() as f64
        };
        let measured = turns(2, &mut [("a", &mut || take("a")), ("b", &mut || take("b"))]);
        assert_eq!(*order.borrow(), ["a", "b", "a", "b"]);
        assert_eq!(measured, [[1.0, 3.0], [2.0, 4.0]]);
    }
}
