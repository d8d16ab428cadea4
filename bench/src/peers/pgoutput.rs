//! The messages of pgoutput's protocol 1, as far as needed to count changes: `pg_recvlogical` puts
//! nothing but a line end behind each, which may also be in one.

/// How long the whole messages are that this begins with, and how many of them are changes.
///
/// # Panics
/// When it is not that protocol.
pub(super) fn whole_messages(read: &[u8]) -> (usize, u64) {
    let (mut taken, mut changes) = (0, 0);
    while let Some(length) = message(&read[taken..]) {
        changes += u64::from(matches!(read[taken], b'I' | b'U'));
        taken += length;
        assert_eq!(read[taken - 1], b'\n', "not a message of pgoutput");
    }
    (taken, changes)
}

/// The length of the first message with its line end, if all of it is there.
fn message(read: &[u8]) -> Option<usize> {
    let mut rest = Rest { read, at: 0 };
    match rest.byte()? {
        b'B' => rest.skip(20)?,
        b'C' => rest.skip(25)?,
        b'R' => {
            rest.skip(4)?;
            rest.text()?;
            rest.text()?;
            rest.skip(1)?;
            for _ in 0..rest.number(2)? {
                rest.skip(1)?;
                rest.text()?;
                rest.skip(8)?;
            }
        }
        b'I' => {
            rest.skip(5)?;
            rest.tuple()?;
        }
        b'U' => {
            rest.skip(4)?;
            if rest.byte()? != b'N' {
                rest.tuple()?;
                rest.skip(1)?;
            }
            rest.tuple()?;
        }
        kind => panic!("a message of pgoutput of kind {kind}"),
    }
    rest.skip(1)?;
    Some(rest.at)
}

struct Rest<'a> {
    read: &'a [u8],
    at: usize,
}

impl Rest<'_> {
    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.at += bytes;
        (self.at <= self.read.len()).then_some(())
    }

    fn byte(&mut self) -> Option<u8> {
        self.skip(1)?;
        Some(self.read[self.at - 1])
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        self.skip(bytes)?;
        let digits = &self.read[self.at - bytes..self.at];
        Some(digits.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn text(&mut self) -> Option<()> {
        while self.byte()? != 0 {}
        Some(())
    }

    fn tuple(&mut self) -> Option<()> {
        for _ in 0..self.number(2)? {
            if self.byte()? == b't' {
                let length = self.number(4)?;
                self.skip(length)?;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_messages_are_taken() {
        let begin = [&b"B"[..], &[0; 20], b"\n"].concat();
        let insert = b"I\0\0\0\x01N\0\x02nt\0\0\0\x02\n\n\n";
        let both = [&begin[..], insert].concat();
        assert_eq!(whole_messages(&both), (both.len(), 1));
        assert_eq!(whole_messages(&both[..both.len() - 1]), (begin.len(), 0));
        assert_eq!(whole_messages(&begin[..5]), (0, 0));
    }
}
