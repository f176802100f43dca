//! A look at a file before redb opens it: redb trusts the layout that its header states, and
//! stops the whole process where the file does not have it.
//!
//! The fields are those of redb's file format 3 (its `docs/design.md`): all little-endian.

use super::error::Kind;

const MAGIC: &[u8; 9] = b"redb\x1a\x0a\xa9\x0d\x0a";
const SQLITE: &[u8; 16] = b"SQLite format 3\0";
const PAGE: u32 = 4096;
const PAGE_SIZE: usize = 12;
const REGION_HEADER_PAGES: usize = 16;
const REGION_PAGES: usize = 20;
const FULL_REGIONS: usize = 24;
const LAST_REGION_PAGES: usize = 28;
pub(super) const FIELDS: usize = 32;

/// Pages of a region: 4 GiB, redb's constant for pages of this size.
const LARGE_REGION: u32 = 1 << 20;
/// Pages of a region in new files: 64 MiB. redb holds two bits for each page of a region whose first
/// page is in use: 256 KiB of memory for a large one.
const REGION: u32 = 1 << 14;

/// Whether redb can be let at a file that begins so (with [`FIELDS`] bytes, if it has as many) and
/// is so many bytes long.
pub(super) fn check(head: &[u8], size: u64) -> Result<(), Kind> {
    let Ok(head) = <&[u8; FIELDS]>::try_from(head) else {
        return Err(Kind::NotOurs);
    };
    if head.starts_with(SQLITE) {
        return Err(Kind::Sqlite);
    }
    if !head.starts_with(MAGIC) {
        return Err(Kind::NotOurs);
    }
    let needed = size_of_layout(head).ok_or_else(|| Kind::Damaged("its header is".into()))?;
    if size < needed {
        return Err(Kind::Damaged(format!("it is cut short: {size} of {needed} bytes")));
    }
    Ok(())
}

/// Makes the regions of a new file small, in the header that redb first writes. It reads that again,
/// and goes by what it says from then on.
pub(super) fn with_small_regions(header: &[u8]) -> Vec<u8> {
    let mut header = header.to_vec();
    if let Some(pages) = header.get_mut(REGION_PAGES..REGION_PAGES + 4) {
        pages.copy_from_slice(&REGION.to_le_bytes());
    }
    header
}

/// How many bytes the header states; `None` if it is nonsense.
fn size_of_layout(head: &[u8; FIELDS]) -> Option<u64> {
    let field = |at: usize| {
        let bytes = head.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let (region, last) = (field(REGION_PAGES)?, field(LAST_REGION_PAGES)?);
    let full = field(FULL_REGIONS)?;
    let sane = field(PAGE_SIZE)? == PAGE
        && field(REGION_HEADER_PAGES)? == 0
        && matches!(region, REGION | LARGE_REGION)
        && last < region
        && (full > 0 || last > 0);
    let pages = u64::from(full) * u64::from(region) + u64::from(last);
    sane.then(|| (pages + 1) * u64::from(PAGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(region: u32, full: u32, last: u32) -> Vec<u8> {
        let mut head = MAGIC.to_vec();
        head.extend([2, 0, 0]);
        for field in [PAGE, 0, region, full, last] {
            head.extend(field.to_le_bytes());
        }
        head
    }

    fn checked(mut bytes: Vec<u8>, size: u64) -> Result<(), Kind> {
        bytes.resize(FIELDS.min(size as usize), 0);
        check(&bytes, size)
    }

    #[test]
    fn headers() {
        assert_eq!(checked(head(1 << 20, 0, 1), 8192), Ok(()));
        assert_eq!(checked(head(1 << 20, 0, 1), 9000), Ok(()));
        assert_eq!(checked(head(1 << 14, 0, 1), 8192), Ok(()));
        let cut = Kind::Damaged("it is cut short: 8191 of 8192 bytes".into());
        assert_eq!(checked(head(1 << 20, 0, 1), 8191), Err(cut));
        for nonsense in [head(9, 0, 1), head(1 << 20, 0, 0), head(1 << 14, 0, 1 << 14)] {
            assert_eq!(checked(nonsense, 8192), Err(Kind::Damaged("its header is".into())));
        }
        assert!(matches!(checked(head(1 << 20, u32::MAX, 1), 8192), Err(Kind::Damaged(_))));
        assert_eq!(checked(b"SQLite format 3\0".to_vec(), 4096), Err(Kind::Sqlite));
        assert_eq!(checked(b"hello".to_vec(), 4096), Err(Kind::NotOurs));
        assert_eq!(checked(b"redb".to_vec(), 4), Err(Kind::NotOurs));
    }
}
