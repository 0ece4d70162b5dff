//! Text in XML: charts and test reports.

/// `text` without characters that XML forbids or that have no picture; each becomes a space.
pub(crate) fn clean(text: &str) -> String {
    let bad = |c: char| c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}');
    text.chars().map(|c| if bad(c) { ' ' } else { c }).collect()
}

/// `text` as the content of an element or of a quoted attribute.
pub(crate) fn escape(text: &str) -> String {
    clean(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_stays_text() {
        assert_eq!(
            escape("<a b=\"c\">&\u{0}\n"),
            "&lt;a b=&quot;c&quot;&gt;&amp;  "
        );
    }
}
