//! Escaping, and the frame of a page that loads nothing.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// Text as HTML, within an element or within a quoted attribute.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // HTML has no way to say these, and a browser would replace them.
            '\0' => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
    out
}

/// A path below the folder of the page as a relative link: it can neither leave that folder nor name another scheme or host. `None` for
/// a path that a browser would walk upwards.
#[must_use]
pub fn link(path: &str) -> Option<String> {
    if path.split('/').any(|part| part == "." || part == "..") {
        return None;
    }
    let mut out = String::from("./");
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(char::from(byte)),
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    Some(out)
}

/// A value as JSON that can stand in a `<script>` element: no `<` is left in it that could end the element or open a comment, and none of
/// the separators that old parsers take for line ends.
#[must_use]
pub fn json(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
    text.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// An element that holds data for the scripts of the page and for [`find_json`].
#[must_use]
pub fn json_element(id: &str, json: &str) -> String {
    format!("{}{json}</script>\n", opening(id))
}

/// The JSON of the element `id` of a page made here.
#[must_use]
pub fn find_json<'a>(page: &'a str, id: &str) -> Option<&'a str> {
    // Text of others is escaped, so that this cannot stand in it.
    let (_, rest) = page.split_once(&opening(id))?;
    Some(rest.split_once("</script>")?.0)
}

fn opening(id: &str) -> String {
    format!("<script type=\"application/json\" id=\"{id}\">")
}

/// Bytes as a link that holds them.
#[must_use]
pub fn data_url(kind: &str, bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() / 3 * 4 + kind.len() + 16);
    let _ = write!(out, "data:{kind};base64,");
    STANDARD.encode_string(bytes, &mut out);
    out
}

/// A whole page.
pub struct Page<'a> {
    /// Title of the window.
    pub title: &'a str,
    /// The one style sheet.
    pub style: &'a str,
    /// The one script, run as a module when everything is there.
    pub script: &'a str,
    /// Hashes of further scripts that the page may run, as [`hash`] gives them.
    pub further_scripts: &'a [&'a str],
    /// Sources of pictures, as in a content security policy.
    pub pictures: &'a str,
    /// The body, already HTML.
    pub body: &'a str,
}

impl Page<'_> {
    /// The page as a browser reads it.
    #[must_use]
    pub fn render(&self) -> String {
        let mut scripts = format!("'{}'", hash(self.script));
        for script in self.further_scripts {
            let _ = write!(scripts, " '{script}'");
        }
        let policy = format!(
            "default-src 'none'; script-src {scripts}; style-src '{}'; img-src {}; base-uri 'none'; form-action 'none'",
            hash(self.style),
            self.pictures,
        );
        let mut out = String::with_capacity(self.body.len() + self.style.len() + self.script.len() + 1024);
        let _ = write!(
            out,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n\
             <meta name=\"robots\" content=\"noindex\">\n\
             <title>{}</title>\n<style>{}</style>\n</head>\n<body>\n{}<script type=\"module\">{}</script>\n</body>\n</html>\n",
            escape(self.title),
            self.style,
            self.body,
            self.script,
        );
        out
    }
}

/// What a content security policy calls a script or style by.
#[must_use]
pub fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn links_stay_below_the_page() {
        assert_eq!(link("2026-11-23/köpf 1#?").as_deref(), Some("./2026-11-23/k%C3%B6pf%201%23%3F"));
        assert_eq!(link("javascript:alert(1)").as_deref(), Some("./javascript%3Aalert%281%29"));
        assert_eq!(link("//evil.example/a").as_deref(), Some(".///evil.example/a"));
        assert_eq!(link("a/../../b"), None);
    }

    proptest! {
        #[test]
        fn json_comes_back_and_cannot_end_its_element(text in any::<String>(), tail in "(</script>|<!--|<script>|&lt;|\u{2028}|[<>&\"'/a-z!-]){0,8}") {
            let text = format!("{text}{tail}");
            let page = Page {
                title: &text,
                style: "",
                script: "",
                further_scripts: &[],
                pictures: "data:",
                body: &format!("<p>{}</p>{}", escape(&text), json_element("x", &json(&text))),
            }
            .render();
            let found = find_json(&page, "x").unwrap();
            prop_assert!(!found.contains('<'));
            prop_assert_eq!(serde_json::from_str::<String>(found).unwrap(), text);
        }

        #[test]
        fn escaped_text_has_no_markup(text in any::<String>()) {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'', '\0']));
        }
    }
}
