//! The version of the whole database, and how older ones are brought up to it.

use redb::{ReadableTable as _, TableDefinition};

use super::record::{SCHEMA_KEY, is_user};

/// One table for everything: a commit then rewrites one path from root to leaf, not one a table.
pub(super) const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("records");

/// The records, inside a transaction that writes.
type Table<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

/// Changes the records from one version to the next. Runs inside the transaction that also
/// writes the new version, so that it happens wholly or not at all.
pub(super) type Migration = fn(&mut Table<'_>) -> Result<(), redb::StorageError>;

/// The migration at index 0 leads from version 1 to 2, and so on. Entries are never removed.
pub(super) const MIGRATIONS: &[Migration] = &[add_roles];

/// Users got a role, at the end of the record; 0 is `Member`.
fn add_roles(table: &mut Table<'_>) -> Result<(), redb::StorageError> {
    let mut users = Vec::new();
    for record in table.iter()? {
        let (key, value) = record?;
        if is_user(key.value()) {
            users.push((key.value().to_vec(), [value.value(), &[0]].concat()));
        }
    }
    for (key, value) in users {
        table.insert(key.as_slice(), value.as_slice())?;
    }
    Ok(())
}

/// What the version of a database asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// There is nothing in it: the version is to be written.
    New,
    /// It is of this version.
    Ready,
    /// These have to run.
    Migrate(&'static [Migration]),
    /// It is of this version, which is newer than ours.
    Newer(u32),
    /// The version can't be read.
    Unreadable,
}

/// The version that `migrations` lead to.
pub(super) const fn version(migrations: &[Migration]) -> u32 {
    1 + migrations.len() as u32
}

/// Decides by the value of the schema record, and whether there are other records.
pub(super) fn plan(value: Option<&[u8]>, empty: bool, migrations: &'static [Migration]) -> Plan {
    let Some(value) = value else { return if empty { Plan::New } else { Plan::Unreadable } };
    let Ok(bytes) = <[u8; 4]>::try_from(value) else { return Plan::Unreadable };
    let found = u32::from_le_bytes(bytes);
    let ours = version(migrations);
    if found == ours {
        return Plan::Ready;
    }
    if found > ours {
        return Plan::Newer(found);
    }
    let done = found.checked_sub(1).and_then(|done| migrations.get(done as usize..));
    done.map_or(Plan::Unreadable, Plan::Migrate)
}

/// Runs `steps` and writes the version that they lead to.
pub(super) fn migrate(
    table: &mut Table<'_>,
    steps: &[Migration],
    version: u32,
) -> Result<(), redb::StorageError> {
    for step in steps {
        step(table)?;
    }
    table.insert(SCHEMA_KEY, version.to_le_bytes().as_slice())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Migration = |_| Ok(());

    #[test]
    fn plans() {
        const TWO: &[Migration] = &[NONE, NONE];
        assert_eq!(version(TWO), 3);
        assert_eq!(plan(None, true, TWO), Plan::New);
        assert_eq!(plan(None, false, TWO), Plan::Unreadable);
        assert_eq!(plan(Some(&[3, 0, 0, 0]), false, TWO), Plan::Ready);
        assert_eq!(plan(Some(&[0, 1, 0, 0]), false, TWO), Plan::Newer(256));
        assert_eq!(plan(Some(&[0, 0, 0, 0]), false, TWO), Plan::Unreadable);
        assert_eq!(plan(Some(&[3]), false, TWO), Plan::Unreadable);
        let Plan::Migrate(steps) = plan(Some(&[2, 0, 0, 0]), false, TWO) else { panic!() };
        assert_eq!(steps.len(), 1);
        let Plan::Migrate(steps) = plan(Some(&[1, 0, 0, 0]), false, TWO) else { panic!() };
        assert_eq!(steps.len(), 2);
    }
}
