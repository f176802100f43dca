//! Bits, the lowest first, as decoders read them from the end (RFC 8878 section 4.1).

/// Appends bits to bytes.
pub(super) struct Bits<'a> {
    out: &'a mut Vec<u8>,
    held: u32,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, held: 0, count: 0 }
    }

    /// Appends the lowest `count` bits of `value`, up to 24; those above must be zero.
    pub(super) fn push(&mut self, value: u32, count: u32) {
        debug_assert!(count <= 24 && value >> count == 0);
        self.held |= value << self.count;
        self.count += count;
        while self.count >= 8 {
            self.out.push(self.held as u8);
            self.held >>= 8;
            self.count -= 8;
        }
    }

    /// Fills the last byte with zeros.
    pub(super) fn pad(mut self) {
        self.push(0, (8 - self.count) % 8);
    }

    /// Marks the end, where decoders begin, with a one.
    pub(super) fn finish(mut self) {
        self.push(1, 1);
        self.pad();
    }
}
