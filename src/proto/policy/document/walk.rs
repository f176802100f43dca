//! Walking the tree of a document, knowing the way back for errors.

use crate::wire::hujson::{Kind, Value};

use super::fault::Fault;

/// A value of the document and the way to it.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    value: &'a Value<'a>,
    step: Step<'a>,
    up: Option<&'a At<'a>>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Member(&'a str),
    Item(usize),
}

impl<'a> At<'a> {
    pub(super) fn root(value: &'a Value<'a>) -> Self {
        Self { value, step: Step::Root, up: None }
    }

    /// Where it starts in the text.
    pub(super) fn offset(&self) -> usize {
        self.value.start
    }

    pub(super) fn value(&self) -> &'a Value<'a> {
        self.value
    }

    pub(super) fn is_null(&self) -> bool {
        self.value.kind == Kind::Null
    }

    /// The members of an object; `null` has none.
    pub(super) fn members(&'a self) -> Result<impl Iterator<Item = (&'a str, At<'a>)>, Fault> {
        let members = match &self.value.kind {
            Kind::Object(members) => members.as_slice(),
            Kind::Null => &[],
            _ => return Err(self.expected("an object")),
        };
        Ok(members.iter().map(move |member| {
            let name = member.name.as_ref();
            let step = Step::Member(name);
            (name, At { value: &member.value, step, up: Some(self) })
        }))
    }

    /// The items of an array; `null` has none.
    pub(super) fn items(&'a self) -> Result<impl Iterator<Item = At<'a>>, Fault> {
        let items = match &self.value.kind {
            Kind::Array(items) => items.as_slice(),
            Kind::Null => &[],
            _ => return Err(self.expected("an array")),
        };
        let at = move |(index, value)| At { value, step: Step::Item(index), up: Some(self) };
        Ok(items.iter().enumerate().map(at))
    }

    /// The member of that name, whatever its case; `null` is as good as none.
    pub(super) fn member(&'a self, name: &str) -> Result<Option<At<'a>>, Fault> {
        let mut found = self.members()?.filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let first = found.next().map(|(_, at)| at);
        match found.next() {
            Some((again, at)) => Err(at.fault(format!("duplicate name \"{again}\""))),
            None => Ok(first.filter(|at| !at.is_null())),
        }
    }

    /// Does something with each text of the list of that name, if there is one.
    pub(super) fn texts(
        &self,
        name: &str,
        each: &mut dyn FnMut(&At<'_>, &str) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.member(name)?.map_or(Ok(()), |list| list.each_text(each))
    }

    /// The same with each text of this list.
    pub(super) fn each_text(
        &self,
        each: &mut dyn FnMut(&At<'_>, &str) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.items()?.try_for_each(|at| each(&at, at.text()?))
    }

    /// Refuses members that are not listed; names that begin with `#` are comments.
    pub(super) fn only(&'a self, known: &[&str]) -> Result<(), Fault> {
        for (name, at) in self.members()? {
            let listed = known.iter().any(|k| k.eq_ignore_ascii_case(name));
            if !listed && !name.starts_with('#') {
                let known = known.join(", ");
                return Err(at.fault(format!("unknown field: \"{name}\"; known are {known}")));
            }
        }
        Ok(())
    }

    pub(super) fn text(&self) -> Result<&'a str, Fault> {
        match &self.value.kind {
            Kind::String(text) => Ok(text),
            _ => Err(self.expected("a string")),
        }
    }

    pub(super) fn boolean(&self) -> Result<bool, Fault> {
        match self.value.kind {
            Kind::Bool(value) => Ok(value),
            _ => Err(self.expected("true or false")),
        }
    }

    pub(super) fn expected(&self, what: &str) -> Fault {
        self.fault(format!("{what} is expected, not {}", self.value.noun()))
    }

    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault { offset: self.value.start, path: self.path(), message: message.into() }
    }

    fn path(&self) -> String {
        let mut path = self.up.map(At::path).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Item(index) => path.push_str(&format!("[{index}]")),
            Step::Member(name) if plain(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            Step::Member(name) => path.push_str(&format!("[\"{name}\"]")),
        }
        path
    }
}

fn plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric())
}
