//! Text that is no TOML: which slip it probably is, and the line as it was probably meant.

use super::Config;
use super::error::{Fault, floor};
use super::words::{answer, bare_number};
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

/// One fault for each line that is wrong: what follows in it is no news.
pub(super) fn faults(text: &str, errors: &[Error]) -> Vec<Fault> {
    let mut faults: Vec<Fault> = Vec::new();
    let mut told = Vec::new();
    let open = open_bracket(text);
    for error in errors {
        let at = floor(text, error.span().unwrap_or(0..0).start);
        let line = Line::at(text, at);
        if let Some((start, bracket)) = open.filter(|(start, _)| *start <= line.start) {
            // All behind it is read as a part of it.
            faults.push(unclosed(text, start, bracket));
            break;
        }
        if !told.contains(&line.start) {
            told.push(line.start);
            faults.push(fault(text, error, &line));
        }
    }
    faults
}

/// The line whose value opens a bracket that nothing closes, and that bracket.
fn open_bracket(text: &str) -> Option<(usize, char)> {
    let mut open: Vec<(usize, char)> = Vec::new();
    let mut start = 0;
    for whole in text.split_inclusive('\n') {
        let line = code(whole);
        let value = if open.is_empty() { line.split_once('=').map_or("", |(_, value)| value) } else { line };
        for (_, c) in outside_quotes(value) {
            match c {
                '[' | '{' => open.push((start, c)),
                ']' | '}' => drop(open.pop()),
                _ => {}
            }
        }
        start += whole.len();
    }
    open.first().copied()
}

fn unclosed(text: &str, start: usize, bracket: char) -> Fault {
    let line = Line::at(text, start);
    let (space, close) = if bracket == '[' { ("", ']') } else { (" ", '}') };
    let content = line.content;
    let from = start + text[start..].find(content).unwrap_or(0);
    let meant = format!("{content}{space}{close}");
    let help = is_toml(&meant).then(|| format!("write {meant}"));
    let (span, message) = (Some(from..from + content.len()), format!("has no closing `{close}`"));
    Fault { key: line.path(), span, message, help, late: false }
}

fn fault(text: &str, error: &Error, line: &Line) -> Fault {
    let key = line.path();
    if error.message() == "duplicate key" {
        return twice(text, error, line, key);
    }
    let (message, help) = match line.slip() {
        Some((message, help)) => (message.to_owned(), Some(help)),
        None => (plain(error.message()), None),
    };
    Fault { key, span: error.span(), message, help, late: false }
}

/// A key, or the header of a section, that was there before.
fn twice(text: &str, error: &Error, at: &Line, key: String) -> Fault {
    let within =
        |path: String| path.strip_prefix(&key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let starts = std::iter::once(0).chain(text[..at.start].match_indices('\n').map(|(end, _)| end + 1));
    let first = starts.zip(1..).find(|&(start, _)| start < at.start && within(Line::at(text, start).path()));
    let first =
        first.map_or(String::new(), |(_, number): (usize, usize)| format!(", first in line {number}"));
    let message = format!("duplicate key: it is there twice{first}");
    let help =
        "expected it once: remove one of them; all keys of a section stand under one header".to_owned();
    Fault { key, span: error.span(), message, help: Some(help), late: false }
}

/// The parser's words for what no slip explains.
fn plain(message: &str) -> String {
    const WORDS: [(&str, &str); 7] = [
        (
            "string values must be quoted",
            "is no value, expected a number, true, false, a text in quotes or a list in brackets",
        ),
        (
            "invalid boolean",
            "is no value, expected a number, true, false, a text in quotes or a list in brackets",
        ),
        (
            "invalid float",
            "is no value, expected a number, true, false, a text in quotes or a list in brackets",
        ),
        ("unexpected key or value", "something follows where the line should end"),
        ("invalid unquoted key", "holds what a key must not hold, expected letters, digits, `-` and `_`"),
        ("key with no value", "has no `=`, expected KEY = VALUE"),
        ("invalid key-value pair", "is no line of a configuration, expected KEY = VALUE or [SECTION]"),
    ];
    let known = WORDS.iter().find(|(theirs, _)| message.starts_with(theirs));
    known.map_or_else(|| message.replace('\n', ", "), |(_, ours)| (*ours).to_owned())
}

/// A line of the text.
struct Line<'a> {
    /// Where it begins.
    start: usize,
    /// Its content without a comment.
    content: &'a str,
    /// The section it stands in.
    section: &'a str,
}

/// What is wrong, what cures it, and the line as it was meant, if it is this slip.
type Slip = (&'static str, &'static str, fn(&Line) -> Option<String>);

/// From the plainest to the vaguest. A line that was meant is TOML, or it was not meant.
const SLIPS: [Slip; 18] = [
    ("is no comment", "comments begin with #", |line| line.comment()),
    ("unclosed table: the section has no `]` behind its name", "write", |line| line.unclosed()),
    ("is no header of a section", "write", |line| line.header()),
    (
        "holds quotes that are none to a program",
        "use the plain quotes \" of a programmer's keyboard",
        |line| line.quotes(),
    ),
    ("has more than one `=`", "write", |line| {
        Some(format!("{} = {}", line.key(), line.value()?.strip_prefix('=')?.trim()))
    }),
    ("has a `:` where `=` belongs", "write", |line| line.colon()),
    ("has no `=`", "write", |line| line.no_sign()),
    ("has a key with a space, or with letters that no key has", "such a name takes quotes", |line| {
        line.odd_key()
    }),
    ("is neither true nor false", "expected", |line| line.with(&answer(line.value()?)?.to_string())),
    ("has a decimal comma", "decimals take a point", |line| line.number(line.comma()?)),
    ("has a unit", "numbers stand without one, config/tvsl.toml says what they mean", |line| line.unit()),
    ("is no number", "write", |line| line.number(line.value()?.trim_matches([',', ';', ' ']).to_owned())),
    ("has a comment that is none", "comments begin with #", |line| line.comment_behind()),
    ("has no closing quote", "write", |line| {
        line.unquoted(|value, quote| (value.starts_with(quote), format!("{value}{quote}")))
    }),
    ("has no opening quote", "write", |line| {
        line.unquoted(|value, quote| (value.ends_with(quote), format!("{quote}{value}")))
    }),
    ("has a `\\` that stands for nothing", "in single quotes a \\ is a \\", |line| line.backslash()),
    ("is no value", "text takes quotes", |line| line.bare_text()),
    ("is no list", "a list takes brackets, and texts in it quotes", |line| line.list()),
];

impl<'a> Line<'a> {
    fn at(text: &'a str, at: usize) -> Self {
        let start = text[..at].rfind('\n').map_or(0, |n| n + 1);
        let content = code(text[start..].lines().next().unwrap_or(""));
        let section = text[..start].lines().rev().find_map(|line| name_in_brackets(code(line)));
        Self { start, content, section: section.unwrap_or("") }
    }

    /// What is wrong with it, and the cure.
    fn slip(&self) -> Option<(&'static str, String)> {
        if let Some(told) = self.nothing() {
            return Some(told);
        }
        let meant = |(what, cure, mend): &Slip| {
            let line = mend(self).filter(|line| is_toml(line))?;
            Some((*what, format!("{cure}{} {line}", if cure.contains(' ') { ":" } else { "" })))
        };
        SLIPS.iter().find_map(meant)
    }

    /// A key that is given no value.
    fn nothing(&self) -> Option<(&'static str, String)> {
        let (key, value) = self.content.split_once(['=', ':']).unwrap_or((self.content, ""));
        let (key, value) = (key.trim(), value.trim());
        let null = ["null", "none", "nil", "undefined"].contains(&value.to_lowercase().as_str());
        let cure = format!("expected {key} = VALUE; without the line the default holds");
        match is_key(key) && !is_section(key) {
            true if value.is_empty() => Some(("has no value", cure)),
            true if null && !self.wants(|value| value.is_str()) => Some(("is no value", cure)),
            _ => None,
        }
    }

    fn key(&self) -> &str {
        self.content.split_once('=').map_or("", |(key, _)| key.trim())
    }

    fn value(&self) -> Option<&str> {
        self.content.split_once('=').map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    /// The dotted path of its key, or of the section that it begins; empty if it has neither.
    fn path(&self) -> String {
        if let Some(name) = name_in_brackets(self.content).filter(|_| self.content.ends_with(']')) {
            return name.to_owned();
        }
        let key = self.content.split(['=', ':']).next().unwrap_or("").trim();
        match (is_key(key), self.section) {
            (false, _) => String::new(),
            (true, "") => key.to_owned(),
            (true, section) => format!("{section}.{key}"),
        }
    }

    /// The same line with another value.
    fn with(&self, value: &str) -> Option<String> {
        let key = self.key();
        (!key.is_empty()).then(|| format!("{key} = {value}"))
    }

    /// The same line with a number.
    fn number(&self, text: String) -> Option<String> {
        let value = text.parse::<f64>().ok().filter(|value| value.is_finite())?;
        let digits = text.trim_start_matches('0');
        let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        self.with(&if whole { digits.to_owned() } else { format!("{value:?}") })
    }

    fn unit(&self) -> Option<String> {
        let number = bare_number(self.value()?).filter(|_| !self.wants(|value| value.is_str()))?;
        self.with(number.strip_suffix('.').unwrap_or(number))
    }

    /// Whether the shipped file gives its key a value of this kind.
    fn wants(&self, kind: fn(&DeValue) -> bool) -> bool {
        let (path, built_in) = (self.path(), Config::built_in());
        let (section, name) = path.rsplit_once('.').unwrap_or(("", &path));
        let holder = section_of(&built_in, section);
        holder.and_then(|holder| holder.get(name)).is_some_and(|value| kind(value.get_ref()))
    }

    /// The value with a point for the comma between its digits.
    fn comma(&self) -> Option<String> {
        let (whole, rest) = self.value()?.split_once(',')?;
        (!whole.is_empty() && !rest.is_empty()).then(|| format!("{whole}.{rest}"))
    }

    /// The same line with the quote that its value lacks.
    fn unquoted(&self, add: impl Fn(&str, char) -> (bool, String)) -> Option<String> {
        let value = self.value()?;
        let meant = ['"', '\''].into_iter().map(|quote| add(value, quote)).find(|(lacks, _)| *lacks)?;
        self.with(&meant.1)
    }

    fn comment(&self) -> Option<String> {
        let text = ["//", ";", "--", "/*"].iter().find_map(|sign| self.content.strip_prefix(sign))?;
        Some(format!("# {}", text.trim()))
    }

    fn comment_behind(&self) -> Option<String> {
        let (value, comment) =
            [" //", " ;", ";", " --"].iter().find_map(|sign| self.value()?.split_once(sign))?;
        let meant = self.with(value.trim())?;
        Some(if comment.is_empty() { meant } else { format!("{meant} # {}", comment.trim()) })
    }

    fn unclosed(&self) -> Option<String> {
        let name = self.content.strip_prefix('[').filter(|_| !self.content.contains(']'))?;
        dotted(name).map(|name| format!("[{name}]"))
    }

    fn header(&self) -> Option<String> {
        let name = self.content.trim_matches(|c: char| "[](){}<>:".contains(c));
        let name = dotted(name)?;
        (self.content.starts_with('[') || is_section(&name)).then(|| format!("[{name}]"))
    }

    fn quotes(&self) -> Option<String> {
        const STRANGE: [char; 10] = ['“', '”', '„', '‟', '‘', '’', '‚', '«', '»', '`'];
        self.content.contains(STRANGE).then(|| self.content.replace(STRANGE, "\""))
    }

    fn colon(&self) -> Option<String> {
        let (key, value) = self.content.split_once(':').filter(|(key, _)| is_key(key.trim()))?;
        self.assigned(key, value.trim_start_matches('='))
    }

    fn no_sign(&self) -> Option<String> {
        let (key, value) = self.content.split_once(char::is_whitespace)?;
        let known = is_key(key) && !self.content.contains('=');
        known.then(|| self.assigned(key, value)).flatten()
    }

    /// `key = value`, the value in quotes if it is none without.
    fn assigned(&self, key: &str, value: &str) -> Option<String> {
        let content = format!("{} = {}", key.trim(), value.trim());
        let line = Line { content: &content, ..*self };
        if is_toml(&content) { Some(content.clone()) } else { line.bare_text() }
    }

    fn odd_key(&self) -> Option<String> {
        let key = Some(self.key()).filter(|key| {
            !key.is_empty() && !is_key(key) && !key.contains(['"', '\'', '[', ']', '{', '}'])
        })?;
        Some(format!("\"{key}\" = {}", self.value()?))
    }

    fn backslash(&self) -> Option<String> {
        let inner = self.value()?.strip_prefix('"')?.strip_suffix('"')?;
        self.with(&format!("'{inner}'")).filter(|_| inner.contains('\\'))
    }

    fn bare_text(&self) -> Option<String> {
        let value = self.value()?;
        let first = value.chars().next()?;
        let bare = first.is_alphanumeric() || matches!(first, '/' | '.' | '~' | '$' | '{');
        let text = bare && !value.contains(['"', '\'', ',']) && !self.wants(is_plain);
        let quote = if value.contains('\\') { '\'' } else { '"' };
        text.then(|| self.with(&format!("{quote}{value}{quote}"))).flatten()
    }

    fn list(&self) -> Option<String> {
        let inner = self.value()?.trim_matches(|c: char| "[]{}()".contains(c));
        let quoted = |item: &str| match item.trim() {
            item if is_toml(&format!("x = {item}")) => item.to_owned(),
            item => format!("\"{item}\""),
        };
        let list = self.value()?.starts_with(['[', '{', '(']) || inner.contains(',');
        let list = list && !inner.trim().is_empty() && !inner.contains(['[', ']', '{', '}']);
        let items = inner.split(',').filter(|item| !item.trim().is_empty()).map(quoted).collect::<Vec<_>>();
        list.then(|| self.with(&format!("[{}]", items.join(", ")))).flatten()
    }
}

/// A line without its comment, and without space around it.
fn code(line: &str) -> &str {
    let end = outside_quotes(line).find(|(_, c)| *c == '#');
    line[..end.map_or(line.len(), |(at, _)| at)].trim()
}

/// The characters of a line that stand in no quotes, with their places.
fn outside_quotes(line: &str) -> impl Iterator<Item = (usize, char)> {
    let mut quote = None;
    line.char_indices().filter(move |(_, c)| match quote {
        None if matches!(c, '"' | '\'') => {
            quote = Some(*c);
            false
        }
        None => true,
        Some(own) => {
            quote = quote.filter(|_| own != *c);
            false
        }
    })
}

/// The section that a line begins, if it does.
fn name_in_brackets(line: &str) -> Option<&str> {
    let name = line.strip_prefix('[')?.trim_matches(['[', ']', ' ']);
    is_key(name).then_some(name)
}

/// A name of sections, with points for the spaces in it.
fn dotted(name: &str) -> Option<String> {
    let name =
        name.split([' ', '\t', '/', '.']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".");
    is_key(&name).then_some(name)
}

fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Whether the shipped file has this section.
fn is_section(name: &str) -> bool {
    section_of(&Config::built_in(), name).is_some()
}

fn section_of<'t>(built_in: &'t Spanned<DeTable<'static>>, name: &str) -> Option<&'t DeTable<'static>> {
    let mut parts = name.split('.').filter(|part| !part.is_empty());
    parts.try_fold(built_in.get_ref(), |table, part| table.get(part)?.get_ref().as_table())
}

/// A number, or true or false.
fn is_plain(value: &DeValue) -> bool {
    matches!(value, DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_))
}

fn is_toml(line: &str) -> bool {
    DeTable::parse_recoverable(line).1.is_empty()
}
