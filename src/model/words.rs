//! Text in CLIP's tokens. What CLIP was trained on was mended before it was read (by ftfy, in open_clip), and so must
//! be what is read now, or the same words in a curlier spelling are other tokens.

use instant_clip_tokenizer::{Token, Tokenizer};
use unicode_normalization::UnicodeNormalization;

/// The tokens of `text`, without start and end.
pub(super) fn tokens(tokenizer: &Tokenizer, text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    tokenizer.encode(&mended(text), &mut tokens);
    tokens
}

/// What is written as an HTML entity, such as `&amp;`, which open_clip would read as the character that it means.
pub(super) fn entity(text: &str) -> Option<&str> {
    text.match_indices('&').find_map(|(at, _)| {
        let (name, _) = text[at + 1..].split_once(';')?;
        let inner = name.strip_prefix('#').unwrap_or(name);
        let is_name = !inner.is_empty() && inner.chars().all(|c| c.is_ascii_alphanumeric());
        is_name.then(|| &text[at..=at + 1 + name.len()])
    })
}

/// One spelling for what has several: composed letters, straight quotes, ligatures taken apart, letters of usual
/// width, single spaces.
fn mended(text: &str) -> String {
    let plain: String = text.chars().filter(|c| !is_control(*c)).flat_map(plain).nfc().collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What ftfy takes out of a text.
fn is_control(c: char) -> bool {
    matches!(
        c,
        '\0'..='\x08' | '\x0b' | '\x0e'..='\x1f' | '\x7f' | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}'
    )
}

/// A character as it is written without a typesetter.
fn plain(c: char) -> impl Iterator<Item = char> {
    let compatible = match c {
        // Latin ligatures and digraphs, and forms of another width.
        'Ĳ' | 'ĳ' | 'ŉ' | 'Ǆ'..='ǌ' | 'Ǳ'..='ǳ' | 'ﬀ'..='ﬆ' | '\u{3000}' | '！'..='\u{ffef}' => {
            true
        }
        _ => false,
    };
    let usual = compatible.then(|| std::iter::once(c).nfkc());
    let own = (!compatible).then_some(c);
    usual.into_iter().flatten().chain(own).map(|c| match c {
        '\u{2bc}' | '‘'..='‛' => '\'',
        '“'..='‟' => '"',
        c => c,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// `engines/tests/test_audioclip.py` holds the same file to open_clip.
    #[test]
    fn every_spelling_has_the_tokens_that_open_clip_gives_it() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/clip_tokens.json");
        let text = std::fs::read_to_string(file).expect("the table");
        let table: BTreeMap<String, Vec<u16>> = serde_json::from_str(&text).expect("texts with tokens");
        let tokenizer = Tokenizer::new();
        let ends = |all: &[Token]| {
            [&[49406][..], &all.iter().map(|token| token.to_u16()).collect::<Vec<_>>(), &[49407]].concat()
        };
        for (text, expected) in table {
            assert_eq!(ends(&tokens(&tokenizer, &text)), expected, "{text:?} {:?}", mended(&text));
        }
    }

    #[test]
    fn an_entity_is_found_and_an_ampersand_is_none() {
        assert_eq!(entity("R&amp;B"), Some("&amp;"));
        assert_eq!(entity("a & b; c &#39; d"), Some("&#39;"));
        for text in ["R&B", "rock & roll; blues", "&;", "&#;", "a&b c;"] {
            assert_eq!(entity(text), None, "{text}");
        }
    }
}
