//! The aliases and sources of all rules, each kept once.

use crate::wire::hujson;
use crate::wire::sorted::Map;

use super::alias::{Alias, Names, Position};
use super::fault::Fault;
use super::walk::At;

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

    /// Reads a list of sources, if there is one: its place, and the aliases in it.
    pub(super) fn read_source(
        &mut self,
        list: Option<At<'_>>,
        names: &Names,
        position: Position,
    ) -> Result<(usize, Vec<Alias>), Fault> {
        let (mut places, mut aliases) = (Vec::new(), Vec::new());
        if let Some(list) = list {
            list.each_text(&mut |at, text| {
                let alias = names.alias(at, text, position)?;
                places.push(self.alias(alias.clone(), at.offset()));
                aliases.push(alias);
                Ok(())
            })?;
        }
        Ok((self.source(places), aliases))
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
