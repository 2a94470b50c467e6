//! Where a key stands in a file: what is wrong with its value is told with that place.

use std::ops::Range;
use toml::de::DeTable;

/// Where `text` sets the dotted `key`, or the nearest section around it.
pub(super) fn of(text: &str, key: &str) -> Option<Range<usize>> {
    within(DeTable::parse_recoverable(text).0.get_ref(), key)
}

/// Where the user's file sets the dotted `key`, or the nearest section around it.
pub(super) fn within(table: &DeTable, key: &str) -> Option<Range<usize>> {
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    let value = table.get(first)?;
    let deeper = value.get_ref().as_table().and_then(|inner| within(inner, rest));
    deeper.or_else(|| Some(value.span()))
}
