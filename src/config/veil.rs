//! Takes passwords out of words that are shown: whoever mistypes an address must not find it in a log.

/// What stands in place of a secret.
pub const GONE: &str = "***";
/// Words in the name of a property whose value is nobody's business.
const SENSITIVE: [&str; 8] = ["pass", "pasw", "pwd", "secret", "token", "-pw", "authorization", "headers"];

/// The same text; addresses in it, with or without a scheme, name no user and no password, and properties such as
/// `user-pw=x` have no value.
pub fn veiled(text: &str) -> String {
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`');
    let (mut shown, mut quoted) = (String::new(), None);
    for piece in text.split_inclusive(ends) {
        let bare = piece.strip_suffix(ends).unwrap_or(piece);
        let end = &piece[bare.len()..];
        if quoted.is_none() {
            shown += &(word(bare) + end);
            let property = bare.trim_end_matches('\\').strip_suffix('=');
            quoted = property.filter(|name| sensitive(name) && ["\"", "'"].contains(&end)).map(|_| end);
        } else if quoted == Some(end) || end.is_empty() {
            shown += &format!("{GONE}{end}");
            quoted = None;
        }
    }
    shown
}

/// A word in which no blank and no quotation mark stands.
fn word(word: &str) -> String {
    // What looks like a property behind a host is a part of the address, whose user stands before it.
    let whole = secret(word).filter(|at| !word[..*at].contains([':', '/', '@', '?']));
    if let Some(at) = whole {
        let value = if at + 1 < word.len() { GONE } else { "" };
        return format!("{}={value}", &word[..at]);
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

/// Where the `=` of the first property stands whose value is nobody's business.
fn secret(text: &str) -> Option<usize> {
    let name = |at: usize| text[..at].rsplit(['/', '&', ';', ',']).next().unwrap_or_default();
    text.match_indices('=').map(|(at, _)| at).find(|at| sensitive(name(*at)))
}

/// What follows a scheme, without whoever stands before the host and without secrets behind it.
pub(super) fn nobody(rest: &str) -> String {
    let (who, bare) = host(rest).map_or((String::new(), rest), |at| (format!("{GONE}@"), &rest[at..]));
    format!("{who}{}", covered(bare))
}

/// Where the host begins in what follows a scheme, if a user stands before it: behind the last `@` before the path. A `/`
/// in a password makes it seem to end earlier, with a "port" that is no number; then it is the last `@` of all.
pub(super) fn host(rest: &str) -> Option<usize> {
    let end = rest.find('/').unwrap_or(rest.len());
    let port = rest[..end].rsplit_once(':').map(|(_, port)| port);
    let cut =
        port.is_some_and(|port| !port.ends_with(']') && port.bytes().any(|byte| !byte.is_ascii_digit()));
    let before_path = rest[..end].rfind('@');
    before_path.or_else(|| rest.rfind('@').filter(|_| cut)).map(|at| at + 1)
}

/// A host and what stands behind it without the values of its query, and without anything behind a word for secrets.
fn covered(rest: &str) -> String {
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    // Cameras want them in the path, too: `/user=admin_password=x`.
    if let Some(at) = secret(path) {
        return format!("{}={GONE}", &path[..at]);
    }
    match query {
        Some(query) => format!("{path}?{}", query.split('&').map(hidden).collect::<Vec<_>>().join("&")),
        None => path.to_owned(),
    }
}

/// `key=value` with its value covered.
fn hidden(pair: &str) -> String {
    pair.split_once('=').map_or_else(|| GONE.into(), |(key, _)| format!("{key}={GONE}"))
}

/// Whether a key or a property of this name holds a secret.
pub fn sensitive(name: &str) -> bool {
    let name = name.to_lowercase();
    SENSITIVE.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_properties_lose_their_secrets() {
        for (text, shown) in [
            ("url = \"rtsp://u:pa:ss@x/s?a=b@c\"", "url = \"rtsp://***@x/s?a=***\""),
            ("rtsp://x/s?pw=SEC4&channel=1", "rtsp://x/s?pw=***&channel=***"),
            ("rtsp://x:9/user=admin_password=SEC3_channel=1.sdp", "rtsp://x:9/user=admin_password=***"),
            ("rtspsrc user-pw='SEC6 a' ! y", "rtspsrc user-pw='***' ! y"),
            (r#"x user-pw=\"SEC8 x\" ! y"#, r#"x user-pw=***"***" ! y"#),
            ("url = \"rtsp://u:a/b@x:1/s@t\"", "url = \"rtsp://***@t\""),
            ("url=\"rtsp//u:hunter2@x/\"", "url=\"rtsp//***@x/\""),
            ("url = \"rtsp://u:a,b[c]@x/s\"", "url = \"rtsp://***@x/s\""),
            ("a://u:p@x/s,b://v:q@y//z", "a://***@x/s,b://***@y//z"),
            ("host = \"u:hunter2@broker\"", "host = \"***@broker\""),
            ("[\"u:hunter2@b:1883\", \"c:1\"]", "[\"***@b:1883\", \"c:1\"]"),
            ("souphttpsrc user-pw=s3same location=x ! y", "souphttpsrc user-pw=*** location=x ! y"),
            ("rtsp://u:SEC9@x/s?token=1", "rtsp://***@x/s?token=***"),
            (r#"uri=\"rtsp://u:my-pass@x?channel=1\" ! y"#, r#"uri=\"rtsp://***@x?channel=***" ! y"#),
            ("location=rtsp://u:SEC9@x/s?secret=1 ! y", "location=rtsp://***@x/s?secret=*** ! y"),
            ("u:SEC9@x/s?token=1", "***@x/s?token=***"),
            ("location=http://x,user-pw=SEC9 ! y", "location=http://x,user-pw=*** ! y"),
            ("user-id=a,user-pw=u:SEC9@x ! y", "user-id=a,user-pw=*** ! y"),
            ("extra-headers=h,Authorization=(string)SEC9 ! y", "extra-headers=*** ! y"),
            ("caps=video/x-raw,width=640 ! y", "caps=video/x-raw,width=640 ! y"),
            ("no address: a@b, c : d", "no address: a@b, c : d"),
            ("password_file = \"p\"", "password_file = \"p\""),
        ] {
            assert_eq!(veiled(text), shown);
        }
    }
}
