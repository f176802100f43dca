//! The aliases and sources of all rules, each kept once.

use crate::wire::hujson;
use crate::wire::sorted::Map;

use super::alias::Alias;

/// A place in the text: line and column, from 1.
pub(crate) type Place = (u32, u32);

/// The aliases and sources of all rules, each kept once.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) aliases: Vec<Alias>,
    /// Where each of them stands first; offsets, while the document is read, are in `offsets`.
    pub(crate) places: Vec<Place>,
    offsets: Vec<usize>,
    /// Lists of places in `aliases`, sorted.
    pub(crate) sources: Vec<Vec<usize>>,
    alias_places: Map<Alias, usize>,
    source_places: Map<Vec<usize>, usize>,
}

impl Table {
    /// The place of an alias, which stands at an offset of the text.
    pub(super) fn alias(&mut self, alias: Alias, offset: usize) -> usize {
        let next = self.aliases.len();
        let place = *self.alias_places.entry(alias.clone()).or_insert(next);
        if place == next {
            self.aliases.push(alias);
            self.offsets.push(offset);
        }
        place
    }

    /// The place of a list of aliases.
    pub(super) fn source(&mut self, mut aliases: Vec<usize>) -> usize {
        aliases.sort_unstable();
        aliases.dedup();
        let next = self.sources.len();
        let place = *self.source_places.entry(aliases.clone()).or_insert(next);
        if place == next {
            self.sources.push(aliases);
        }
        place
    }

    /// Turns offsets into places, and drops what only reading needs.
    pub(super) fn locate(&mut self, lines: &hujson::Lines<'_>) {
        self.places = self.offsets.iter().map(|offset| lines.position(*offset)).collect();
        self.offsets = Vec::new();
        self.alias_places = Map::new();
        self.source_places = Map::new();
    }
}
