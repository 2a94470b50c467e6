//! Takes passwords out of words that are shown: whoever mistypes an address must not find it in a log.

use super::rtsp::host;

/// What stands in place of a secret.
const GONE: &str = "***";
/// Words in the name of a property whose value is nobody's business.
const SENSITIVE: [&str; 4] = ["pass", "secret", "token", "-pw"];

/// The same text; addresses in it, with or without a scheme, name no user and no password, and properties such as
/// `user-pw=x` have no value.
pub fn veiled(text: &str) -> String {
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`');
    let piece = |piece: &str| {
        let bare = piece.strip_suffix(ends).unwrap_or(piece);
        word(bare) + &piece[bare.len()..]
    };
    text.split_inclusive(ends).map(piece).collect()
}

fn word(word: &str) -> String {
    if let Some((name, value)) = word.split_once('=').filter(|(name, _)| sensitive(name)) {
        return if value.is_empty() { word.to_owned() } else { format!("{name}={GONE}") };
    }
    match word.split_once("//") {
        Some((first, rest)) => {
            let rest: Vec<String> = rest.split("//").map(nobody).collect();
            format!("{first}//{}", rest.join("//"))
        }
        // Without a scheme only who has a password is taken for somebody.
        None if word.split('@').next().is_some_and(|who| who.contains(':')) => nobody(word),
        None => word.to_owned(),
    }
}

/// What follows a scheme, without whoever stands before the host.
fn nobody(rest: &str) -> String {
    host(rest).map_or_else(|| rest.to_owned(), |at| format!("{GONE}@{}", &rest[at..]))
}

/// Whether a key or a property of this name holds a secret.
pub(super) fn sensitive(name: &str) -> bool {
    let name = name.to_lowercase();
    SENSITIVE.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_properties_lose_their_secrets() {
        for (text, shown) in [
            ("url = \"rtsp://u:pa:ss@x/s?a=b@c\"", "url = \"rtsp://***@x/s?a=b@c\""),
            ("url = \"rtsp://u:a/b@x:1/s@t\"", "url = \"rtsp://***@t\""),
            ("url=\"rtsp//u:hunter2@x/\"", "url=\"rtsp//***@x/\""),
            ("url = \"rtsp://u:a,b[c]@x/s\"", "url = \"rtsp://***@x/s\""),
            ("a://u:p@x/s,b://v:q@y//z", "a://***@x/s,b://***@y//z"),
            ("host = \"u:hunter2@broker\"", "host = \"***@broker\""),
            ("[\"u:hunter2@b:1883\", \"c:1\"]", "[\"***@b:1883\", \"c:1\"]"),
            ("souphttpsrc user-pw=s3same location=x ! y", "souphttpsrc user-pw=*** location=x ! y"),
            ("no address: a@b, c : d", "no address: a@b, c : d"),
            ("password_file = \"p\"", "password_file = \"p\""),
        ] {
            assert_eq!(veiled(text), shown);
        }
    }
}
