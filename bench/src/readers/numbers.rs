//! The numbers of one stream: each event holds one, as `#` and eight digits.

/// What a stream has brought so far.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    next: u64,
    /// Of a number whose end has not come yet.
    digits: u32,
    value: u64,
}

const DIGITS: u32 = 8;

impl Numbers {
    /// Takes what came; calls `found` for each number.
    ///
    /// # Panics
    /// When a number is missing, came twice or out of order.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut found: impl FnMut(u64)) {
        loop {
            if self.digits == 0 {
                let Some(at) = memchr::memchr(b'#', bytes) else { return };
                bytes = &bytes[at + 1..];
                (self.digits, self.value) = (DIGITS, 0);
            }
            let here = bytes.len().min(self.digits as usize);
            let (digits, rest) = bytes.split_at(here);
            self.value = digits.iter().fold(self.value, |v, d| v * 10 + u64::from(d - b'0'));
            self.digits -= here as u32;
            if self.digits > 0 {
                return;
            }
            bytes = rest;
            assert_eq!(self.value, self.next, "an event is missing, came twice or out of order");
            self.next += 1;
            found(self.value);
        }
    }
}
