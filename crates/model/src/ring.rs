//! The ring of segments: where to write, and what to let go.
//!
//! Pure decisions over numbers that somebody else measured. They guarantee that the segment written
//! to is never emptied, that nothing younger than the retention is let go unless the size demands
//! it, and that a caller that does what it is told comes to rest.

/// The log is cut into this many parts of its largest size: a full ring is eight of them, and what is
/// written between two looks has the others. On a machine with twice as much to do as it can, at the
/// smallest size, that was a part and a quarter.
const PARTS: u64 = 10;
/// A segment is written for this part of the retention, so that a ring of eight holds it all.
const SPANS: i64 = 6;
/// What the files of an empty segment take, with room for other page sizes.
const EMPTY_BYTES: u64 = 512 * 1024;

/// How long and how much.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Microseconds.
    pub retention: i64,
    pub most_bytes: u64,
}

/// What was measured of one segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// All of its files.
    pub bytes: u64,
    /// The first and the last position in it, also of transactions that were rolled back; `None`
    /// when it has none.
    pub span: Option<(i64, i64)>,
    /// Somebody holds on to it: it cannot be emptied now.
    pub stuck: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Rest,
    /// New transactions write here.
    WriteTo(usize),
    Empty {
        segment: usize,
        /// It holds changes younger than the retention; only the size demands it.
        early: bool,
    },
}

impl Policy {
    /// A segment of this size is full.
    pub fn segment_bytes(&self) -> u64 {
        self.most_bytes / PARTS
    }

    /// The next step, with `current` being written and the clock at `now`.
    pub fn next_step(&self, segments: &[Segment], current: usize, now: i64) -> Step {
        let horizon = now.saturating_sub(self.retention);
        let others = || segments.iter().enumerate().filter(|&(at, _)| at != current);
        let oldest = others()
            .filter(|(_, segment)| !segment.is_empty() && !segment.stuck)
            .min_by_key(|(_, segment)| segment.newest());
        let empty_oldest = oldest
            .map(|(at, segment)| Step::Empty { segment: at, early: segment.newest() >= horizon });
        if let Some(step @ Step::Empty { early: false, .. }) = empty_oldest {
            return step;
        }
        let bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
        if bytes > self.most_bytes
            && let Some(step) = empty_oldest
        {
            return step;
        }
        let written = &segments[current];
        let since = written.span.map_or(now, |(first, _)| first);
        let full = written.bytes >= self.segment_bytes().max(EMPTY_BYTES)
            || since < now.saturating_sub(self.retention / SPANS);
        if !full {
            return Step::Rest;
        }
        let free = others().find(|(_, segment)| segment.is_empty() && !segment.stuck);
        match free {
            Some((at, _)) => Step::WriteTo(at),
            // Nothing to go to: writers stay where they are, and the ring grows.
            None => empty_oldest.unwrap_or(Step::Rest),
        }
    }
}

impl Segment {
    /// Nothing is in it; new transactions may be sent here.
    pub fn is_empty(&self) -> bool {
        self.span.is_none() && self.bytes < EMPTY_BYTES
    }

    fn newest(&self) -> i64 {
        // Change rows without a stamp are of transactions that were rolled back or still run.
        self.span.map_or(i64::MIN, |(_, last)| last)
    }
}
