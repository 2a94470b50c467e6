//! What is wrong with a configuration, said so that it can be put right on a ladder with a phone.

use super::veil::{sensitive, veiled};
use super::{Written, place};
use crate::rights;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Why there is no configuration. A program that ends for it exits with 78 (`EX_CONFIG`).
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {}", file.display(), rights::denied(file, source))]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is larger than any configuration.
    #[error("{}: is larger than {limit} bytes; is it the right file?", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The most that is read.
        limit: u64,
    },
    /// The file is not text in UTF-8.
    #[error("{}:{line}: is not text in UTF-8 (byte 0x{byte:02x}); save it as UTF-8", file.display())]
    NotText {
        /// The file.
        file: PathBuf,
        /// Line of the first wrong byte, from 1.
        line: usize,
        /// That byte.
        byte: u8,
    },
    /// The text has faults, each told with its place.
    #[error("{}", told.join("\n"))]
    Invalid {
        /// One paragraph for each fault, and one for those that are too many.
        told: Vec<String>,
        /// Whether every fault is of a file that is not there, as on a mount that comes late.
        late: bool,
    },
}

impl ConfigError {
    /// Most faults that are told, in the order of the file, with how many more there are: enough to see that it is the wrong
    /// file.
    pub const MOST_TOLD: usize = 20;

    /// The error for `faults` found in a file, or in the built-in defaults.
    pub(super) fn of(written: Option<&Written>, faults: Vec<Fault>) -> Self {
        let late = faults.iter().all(|fault| fault.late);
        match written {
            Some(Written { file, text }) => Self::invalid(file, text, faults),
            None => {
                let told = faults.iter().map(|fault| veiled(&format!("{}: {}", fault.key, fault.message)));
                Self::Invalid { told: told.collect(), late }
            }
        }
    }

    /// The error for `faults` found in the `text` of `file`.
    pub(super) fn invalid(file: &Path, text: &str, mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| fault.span.as_ref().map(|span| span.start));
        let told = faults.iter().take(Self::MOST_TOLD).map(|fault| fault.tell(file, text));
        let told = told.chain(untold(file, faults.len())).collect();
        Self::Invalid { told, late: faults.iter().all(|fault| fault.late) }
    }

    /// Whether nothing is wrong but that files are not there, which may come later as they are named.
    pub fn is_late(&self) -> bool {
        matches!(self, Self::Invalid { late: true, .. })
    }
}

/// Where reading ends that finds one fault at a time, since each costs another reading.
pub(super) const MOST_COUNTED: usize = 50;

/// How many of so many `faults` there are beside those that are told.
fn untold(file: &Path, faults: usize) -> Option<String> {
    let more = faults.checked_sub(ConfigError::MOST_TOLD).filter(|more| *more > 0)?;
    let least = if faults < MOST_COUNTED { "" } else { "at least " };
    let s = if more == 1 { "" } else { "s" };
    Some(format!("{}: has {least}{more} more fault{s}; is it the right file?\n", file.display()))
}

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Dotted path of the key; empty for text that is no TOML.
    pub key: String,
    /// Bytes of the text it is about; `None`: the key is not in the text.
    pub span: Option<Range<usize>>,
    /// What is wrong and what was expected.
    pub message: String,
    /// What to write instead, if that can be guessed.
    pub help: Option<String>,
    /// Whether it is that a file is not there.
    pub late: bool,
}

impl Fault {
    /// A broken rule about `key`, whose place is still to be found.
    pub(super) fn rule(key: &str, message: String) -> Self {
        Self { key: key.into(), span: None, message, help: None, late: false }
    }

    /// What something else than reading found wrong with `key`, said in words that may begin with that.
    pub(super) fn found(key: &str, why: &str, written: Option<&Written>) -> Self {
        let message = match why.split_once(": ") {
            Some((named, message)) if key.starts_with(named) => message,
            _ => why,
        };
        let span = written.and_then(|written| place::of(&written.text, key));
        Self { span, ..Self::rule(key, message.into()) }
    }

    /// A list at `path`, where a section belongs.
    pub(super) fn list_for_section(path: &[String], span: Range<usize>) -> Self {
        let key = path.join(".");
        let help = Some(format!("write [{key}] once, with single brackets"));
        Self {
            span: Some(span),
            message: "is a list, expected a section of keys".into(),
            help,
            key,
            late: false,
        }
    }

    /// The same fault with a cure.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// `file:line:column: key: message`, the line itself with the place marked, and the cure; without any password.
    fn tell(&self, file: &Path, text: &str) -> String {
        let message = veiled(&self.message);
        let key = if self.key.is_empty() { String::new() } else { format!("{}: ", self.key) };
        let help = self.help.as_ref().map_or(String::new(), |help| format!("   = {}\n", discreet(help)));
        let Some(span) = &self.span else {
            return format!("{}: {key}{message}\n{help}", file.display());
        };
        let place = Place::of(text, span);
        let at = format!("{}:{}:{}", file.display(), place.line, place.column);
        format!("{at}: {key}{message}\n{place}{help}")
    }
}

/// Whether none of `faults` is in, or around, one of these keys.
pub(super) fn sound(faults: &[Fault], keys: &[&str]) -> bool {
    let within = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    !faults.iter().any(|fault| keys.iter().any(|key| within(&fault.key, key) || within(key, &fault.key)))
}

/// A line of the text with a part of it marked.
struct Place<'a> {
    line: usize,
    column: usize,
    before: String,
    marked: usize,
    content: &'a str,
}

impl<'a> Place<'a> {
    fn of(text: &'a str, span: &Range<usize>) -> Self {
        let start = floor(text, span.start);
        let from = text[..start].rfind('\n').map_or(0, |n| n + 1);
        let content = text[from..].lines().next().unwrap_or("");
        let end = floor(text, span.end.max(start)).min(from + content.len()).max(start);
        let before =
            text[from..start].chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect::<String>();
        Self {
            line: text[..from].matches('\n').count() + 1,
            column: before.chars().count() + 1,
            marked: text[start..end].chars().count().max(1),
            before,
            content,
        }
    }
}

/// The largest boundary of a character at or before `index`.
pub(super) fn floor(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

/// Whether what stands behind this key is nobody's business, although there is no such key: what is told here ends in logs.
fn secret(key: &str) -> bool {
    sensitive(key) && !key.to_lowercase().contains("_file")
}

/// A line, or a part of one, as it may be shown: nothing behind a key for secrets, and nobody in an address. A password may
/// hold anything, so whatever stands before the last `@` is taken for one.
fn discreet(line: &str) -> String {
    if let Some((key, _)) = line.split_once('=').filter(|(key, _)| secret(key)) {
        return format!("{key}= ***");
    }
    match (line.find("//"), line.rfind('@')) {
        (Some(from), Some(to)) if from < to => veiled(&format!("{}***{}", &line[..from + 2], &line[to..])),
        _ => veiled(line),
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        /// Longer lines would bury the message.
        const WIDEST: usize = 160;
        if self.column + self.marked > WIDEST {
            return Ok(());
        }
        let content = self.content.chars().take(WIDEST).collect::<String>();
        let shown = discreet(&content);
        writeln!(f, "{:>4} | {shown}", self.line)?;
        if shown != content {
            return Ok(()); // what would be marked is elsewhere now
        }
        writeln!(f, "     | {}{}", self.before, "^".repeat(self.marked))
    }
}
