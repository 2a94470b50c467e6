//! The address of a network camera: its parts, whether it can be one, and how it is shown.

use super::veil::{host, nobody};

/// An address in parts. Cameras' passwords hold any character, and people write them as they are.
struct Parts<'a> {
    scheme: &'a str,
    /// User and password, up to the `@` before the host.
    who: &'a str,
    /// Host and port.
    place: &'a str,
    /// What stands behind them, from its `/`, `?` or `#` on.
    rest: &'a str,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let host = host(rest).unwrap_or(0);
        let (who, rest) = rest.split_at(host);
        let (place, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        Self { scheme, who, place, rest }
    }
}

/// What makes `url` no address of a network camera; never a part of it, which may be a password.
pub(super) fn fault(url: &str) -> Option<&'static str> {
    let Parts { scheme, who, place, rest } = Parts::of(url);
    let bad = |text: &str| text.contains(|c: char| c.is_whitespace() || c.is_control());
    let (host, port) = match place.rfind(']') {
        Some(end) => place.split_at(end + 1),
        None => place.split_at(place.find(':').unwrap_or(place.len())),
    };
    let literal = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let numbers =
        |inner: &str| inner.split('%').next().is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
    if !["rtsp", "rtsps", "rtspt"].contains(&scheme) {
        Some("is no RTSP address")
    } else if who.contains('/') {
        Some("has a `/` in its password, where the path seems to begin; write it %2F")
    } else if host.is_empty() {
        Some("names no host")
    } else if bad(host)
        || literal.is_some_and(|inner| !numbers(inner))
        || literal.is_none() && host.contains(['[', ']'])
    {
        Some("has a host that can be none")
    } else if literal.is_none() && port.matches(':').count() > 1 {
        Some("has more than one `:` behind its host; an IPv6 address stands in brackets")
    } else if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
        Some("has a port that is no number from 1 to 65535")
    } else if bad(rest) {
        Some("has a space or an invisible character in its path; write a space %20")
    } else {
        None
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// `url` without the user name and password it may hold, and without the values of its query, where many cameras want them.
pub(super) fn public(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    scheme + &nobody(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_any_kind_go_on_working() {
        for url in [
            "rtsp://h",
            "rtsp://h/",
            "rtsp://h:554/x@y:z",
            "rtsps://cam.local:322/Streaming/Channels/101?transportmode=unicast&x=a:b",
            "rtspt://10.0.0.9/1",
            "rtsp://[fe80::1%25eth0]:554/s",
            "rtsp://[::1]/s",
            "rtsp://user:@h/x",
            "rtsp://u:p@ss:w?r#d!$&'()*+,;= [x]%\"^@h:8554/x",
            "rtsp://ü:ß@h/x",
        ] {
            assert_eq!(fault(url), None, "{url}");
        }
    }

    #[test]
    fn what_can_be_no_address_is_told_without_it() {
        for (url, told) in [
            ("http://h/", "is no RTSP address"),
            ("rtsp//h/", "is no RTSP address"),
            ("rtsp://", "names no host"),
            ("rtsp:///x", "names no host"),
            ("rtsp://:554/x", "names no host"),
            ("rtsp://u:geheim@/x", "names no host"),
            ("rtsp://u:geheim@:554/x", "names no host"),
            ("rtsp://h h/x", "a host that can be none"),
            ("rtsp:// h/x", "a host that can be none"),
            ("rtsp://[::1/x", "a host that can be none"),
            ("rtsp://[h]/x", "a host that can be none"),
            ("rtsp://h:99999/x", "a port that is no number"),
            ("rtsp://h:0/x", "a port that is no number"),
            ("rtsp://h:/x", "a port that is no number"),
            ("rtsp://h:rtsp/x", "a port that is no number"),
            ("rtsp://u:geheim@h:99999/x", "a port that is no number"),
            ("rtsp://fe80::1/x", "stands in brackets"),
            ("rtsp://h/a b", "in its path"),
            ("rtsp://h/x ", "in its path"),
            ("rtsp://u:ge/heim@h/x", "write it %2F"),
        ] {
            let why = fault(url).unwrap_or_else(|| panic!("{url} passes"));
            assert!(why.contains(told) && !why.contains("heim"), "{url}: {why}");
        }
    }

    #[test]
    fn a_password_with_a_slash_is_not_shown_either() {
        assert_eq!(public("rtsp://u:ge/heim@h:554/x"), "rtsp://***@h:554/x");
        assert_eq!(public("rtsp://h:554/x@y"), "rtsp://h:554/x@y");
    }
}
