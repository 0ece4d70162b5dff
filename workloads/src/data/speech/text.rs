//! Transcripts as tokens.

/// The characters that a transcript may hold. Token 0 is CTC's blank; the others follow the characters'
/// order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alphabet(&'static str);

/// Lower-case English.
pub const ENGLISH: Alphabet = Alphabet(" 'abcdefghijklmnopqrstuvwxyz");

/// What occurs in English, Spanish, French, Italian and Russian transcripts, in lower case.
pub const FIVE_LANGUAGES: Alphabet = Alphabet(
    " '0123456789abcdefghijklmnopqrstuvwxyzàáçèéêìíîòóùúûабвгдежзийклмнопрстуфхцчшщъыьэюяё",
);

impl Alphabet {
    /// Different tokens, the blank included.
    pub fn classes(&self) -> usize {
        self.0.chars().count() + 1
    }

    /// Lower case; without remarks in `[]`, `()` or `<>`; one space for each run of other characters;
    /// no space at the ends. A bracket that is not closed reaches to the end.
    pub fn normalise(&self, text: &str) -> String {
        let mut kept = String::with_capacity(text.len());
        let mut closing = None;
        for c in text.chars().flat_map(char::to_lowercase) {
            match (closing, c) {
                (Some(end), _) => {
                    if c == end {
                        closing = None;
                    }
                }
                (None, '[') => closing = Some(']'),
                (None, '(') => closing = Some(')'),
                (None, '<') => closing = Some('>'),
                (None, '\u{2019}') => kept.push('\''),
                (None, _) if self.0.contains(c) => kept.push(c),
                (None, _) => kept.push(' '),
            }
        }
        let words: Vec<&str> = kept.split_whitespace().collect();
        words.join(" ")
    }

    /// Tokens of a text; characters that are not in the alphabet are left out.
    pub fn tokens(&self, text: &str) -> Vec<i32> {
        let rank = |c| self.0.chars().position(|own| own == c);
        text.chars()
            .filter_map(rank)
            .map(|r| r as i32 + 1)
            .collect()
    }

    /// The text of tokens; blanks and unknown tokens are left out.
    pub fn text(&self, tokens: &[i32]) -> String {
        let symbols: Vec<char> = self.0.chars().collect();
        let symbol = |token: &i32| {
            let rank = usize::try_from(*token).ok()?.checked_sub(1)?;
            symbols.get(rank).copied()
        };
        tokens.iter().filter_map(symbol).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_lose_what_is_not_spoken() {
        let n = |text| ENGLISH.normalise(text);
        assert_eq!(n("  Vous, [a beep] (et) <moi>... "), "vous");
        assert_eq!(n("x-ray: O\u{2019}Clock!"), "x ray o'clock");
        assert_eq!(n("at [@]"), "at");
        assert_eq!(n("[10 seconds of silence]"), "");
        assert_eq!(n("open [to the end"), "open");
        assert_eq!(
            FIVE_LANGUAGES.normalise("Échec; ПИН-код 3"),
            "échec пин код 3"
        );
    }

    #[test]
    fn tokens_and_texts_are_inverse() {
        assert_eq!(ENGLISH.classes(), 29);
        assert_eq!(FIVE_LANGUAGES.classes(), 86);
        assert_eq!(ENGLISH.tokens("a z'"), [3, 1, 28, 2]);
        for (alphabet, text) in [(ENGLISH, "it's o k"), (FIVE_LANGUAGES, "ёлка à 9")] {
            assert_eq!(alphabet.text(&alphabet.tokens(text)), text);
        }
        assert_eq!(ENGLISH.text(&[0, 3, 99, -1]), "a");
    }
}
