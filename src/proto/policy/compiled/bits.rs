//! Sets of small numbers.

/// A set of small numbers: one bit each.
///
/// Words behind the end count as zero, so that sets of different lengths compare and combine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits(Vec<u32>);

impl Bits {
    pub(super) fn set(&mut self, at: usize, on: bool) {
        let (word, mask) = (at / 32, 1 << (at % 32));
        if word >= self.0.len() {
            if !on {
                return;
            }
            self.0.resize(word + 1, 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word = if on { *word | mask } else { *word & !mask };
        }
    }

    pub(super) fn has(&self, at: usize) -> bool {
        self.0.get(at / 32).is_some_and(|word| word & (1 << (at % 32)) != 0)
    }

    pub(super) fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    /// Whether there are members that `other` lacks.
    pub(super) fn exceeds(&self, other: &Self) -> bool {
        let others = other.0.iter().chain(std::iter::repeat(&0));
        self.0.iter().zip(others).any(|(a, b)| a & !b != 0)
    }

    pub(super) fn join(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a & b).collect())
    }

    /// The members, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(index, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                left &= left.wrapping_sub(1);
                (bit < 32).then(|| index * 32 + bit as usize)
            })
        })
    }
}

impl PartialEq for Bits {
    fn eq(&self, other: &Self) -> bool {
        let common = self.0.len().min(other.0.len());
        let zero = |words: &[u32]| words.iter().skip(common).all(|word| *word == 0);
        self.0.iter().zip(&other.0).all(|(a, b)| a == b) && zero(&self.0) && zero(&other.0)
    }
}

impl FromIterator<usize> for Bits {
    fn from_iter<I: IntoIterator<Item = usize>>(items: I) -> Self {
        let mut bits = Self::default();
        items.into_iter().for_each(|at| bits.set(at, true));
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let mut bits: Bits = [0, 31, 32, 70].into_iter().collect();
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 31, 32, 70]);
        assert!(bits.has(70) && !bits.has(71) && !bits.has(1000));
        bits.set(70, false);
        bits.set(500, false);
        assert_eq!(bits, [0, 31, 32].into_iter().collect());
        assert!(bits.meets(&[99, 32].into_iter().collect()));
        assert!(!bits.meets(&[1, 99].into_iter().collect()));
        bits.join(&[200].into_iter().collect());
        assert!(bits.has(200) && bits.has(0) && !bits.is_empty());
        assert!(Bits::default().is_empty());
        assert!(bits.exceeds(&[0, 31, 32].into_iter().collect()) && !bits.exceeds(&bits));
        assert_eq!(bits.and(&[1, 32, 200].into_iter().collect()), [32, 200].into_iter().collect());
    }
}
