//! Sets of slots.

use crate::tailnet::change::Slot;

/// A set of slots: a bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots {
    words: Vec<u32>,
}

impl Slots {
    pub(super) fn has(&self, slot: Slot) -> bool {
        let (word, bit) = place(slot);
        self.words.get(word).is_some_and(|w| w & bit != 0)
    }

    pub(super) fn add(&mut self, slot: Slot) {
        let (word, bit) = place(slot);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        if let Some(w) = self.words.get_mut(word) {
            *w |= bit;
        }
    }

    /// Takes the slot out; whether it was in.
    pub(super) fn take(&mut self, slot: Slot) -> bool {
        let had = self.has(slot);
        let (word, bit) = place(slot);
        if let Some(w) = self.words.get_mut(word) {
            *w &= !bit;
        }
        had
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().all(|w| *w == 0)
    }

    pub(super) fn clear(&mut self) {
        self.words.clear();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.words.iter().enumerate().flat_map(|(i, word)| {
            (0..32)
                .filter(move |bit| word & (1 << bit) != 0)
                .map(move |bit| Slot(i as u32 * 32 + bit))
        })
    }
}

fn place(slot: Slot) -> (usize, u32) {
    ((slot.0 / 32) as usize, 1 << (slot.0 % 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set() {
        let mut set = Slots::default();
        assert!(set.is_empty() && !set.has(Slot(70)));
        for n in [0, 31, 32, 70] {
            set.add(Slot(n));
        }
        assert_eq!(set.iter().map(|s| s.0).collect::<Vec<_>>(), [0, 31, 32, 70]);
        assert!(set.take(Slot(31)) && !set.take(Slot(31)) && !set.take(Slot(999)));
        assert!(set.has(Slot(32)) && !set.has(Slot(31)));
        set.clear();
        assert!(set.is_empty());
    }
}
