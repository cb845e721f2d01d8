//! Patterns with `*` (any characters, none too) and `?` (any one character).
//!
//! A pattern is cut at its stars. The first piece must begin the text, the last one must end it, and each one
//! between is taken at its leftmost place after the one before: with stars on both sides a later place can't
//! succeed where the leftmost fails, so nothing is ever tried twice. Pieces without `?` are searched for in
//! linear time; a piece with `?` costs at most its length times the text's.

/// One element of a pattern before it is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glyph {
    Char(char),
    /// `?`
    One,
    /// `*`
    Many,
}

/// A run of a pattern between two stars.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Exact(String),
    /// With holes: `None` is `?`.
    Holes(Vec<Option<char>>),
}

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    /// One more than the pattern has stars; never empty.
    pieces: Vec<Piece>,
}

impl Glob {
    /// Compiles text in which `*` and `?` are wildcards.
    pub fn new(pattern: &str) -> Self {
        Self::of(pattern.chars().map(|c| match c {
            '*' => Glyph::Many,
            '?' => Glyph::One,
            c => Glyph::Char(c),
        }))
    }

    /// Compiles glyphs.
    pub fn of(glyphs: impl IntoIterator<Item = Glyph>) -> Self {
        let mut pieces = Vec::new();
        let mut piece = Vec::new();
        for glyph in glyphs {
            match glyph {
                Glyph::Char(c) => piece.push(Some(c)),
                Glyph::One => piece.push(None),
                Glyph::Many => pieces.push(Piece::of(std::mem::take(&mut piece))),
            }
        }
        pieces.push(Piece::of(piece));
        Self { pieces }
    }

    /// Whether it is the whole of `text`.
    pub fn matches(&self, text: &str) -> bool {
        let (first, rest) = match self.pieces.split_first() {
            Some(split) => split,
            None => return text.is_empty(),
        };
        let Some(after_first) = first.begins(text) else { return false };
        let Some((last, middle)) = rest.split_last() else { return after_first == text.len() };
        let mut at = after_first;
        for piece in middle {
            match piece.find(&text[at..]) {
                Some(end) => at += end,
                None => return false,
            }
        }
        last.ends(&text[at..])
    }
}

impl Piece {
    fn of(chars: Vec<Option<char>>) -> Self {
        match chars.iter().copied().collect::<Option<String>>() {
            Some(text) => Self::Exact(text),
            None => Self::Holes(chars),
        }
    }

    /// If `text` begins with it: the bytes it takes.
    fn begins(&self, text: &str) -> Option<usize> {
        match self {
            Self::Exact(exact) => text.starts_with(exact.as_str()).then_some(exact.len()),
            Self::Holes(holes) => {
                let mut chars = text.chars();
                let mut taken = 0;
                for hole in holes {
                    let c = chars.next()?;
                    if hole.is_some_and(|wanted| wanted != c) {
                        return None;
                    }
                    taken += c.len_utf8();
                }
                Some(taken)
            }
        }
    }

    /// The end, in bytes, of its leftmost place in `text`.
    fn find(&self, text: &str) -> Option<usize> {
        match self {
            Self::Exact(exact) => text.find(exact.as_str()).map(|at| at + exact.len()),
            Self::Holes(_) => {
                text.char_indices().find_map(|(at, _)| self.begins(&text[at..]).map(|taken| at + taken))
            }
        }
    }

    fn ends(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => text.ends_with(exact.as_str()),
            Self::Holes(holes) => {
                let mut chars = text.chars();
                holes.iter().rev().all(|hole| match chars.next_back() {
                    Some(c) => hole.is_none_or(|wanted| wanted == c),
                    None => false,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every way of splitting is tried.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some('*'), _) => naive(&pattern[1..], text) || (!text.is_empty() && naive(pattern, &text[1..])),
            (Some(_), None) => false,
            (Some('?'), Some(_)) => naive(&pattern[1..], &text[1..]),
            (Some(p), Some(t)) => p == t && naive(&pattern[1..], &text[1..]),
        }
    }

    #[test]
    fn a_table_of_patterns() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("?", "", false),
            ("?", "é", true),
            ("a*b", "ab", true),
            ("a*b*", "ab", true),
            ("ab*ba", "aba", false),
            ("*a?", "aab", true),
            ("*a?", "aa", true),
            ("*?a*", "a", false),
            ("photos/*/x", "photos/2020/x", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_is_no_slower() {
        // A backtracking matcher needs more steps here than there are atoms.
        let pattern = "a*".repeat(400) + "b";
        assert!(!Glob::new(&pattern).matches(&"a".repeat(1000)));
        let pattern = "?*".repeat(400) + "b";
        assert!(!Glob::new(&pattern).matches(&"a".repeat(1000)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_agrees_with_the_naive_matcher(pattern in "[abé*?]{0,9}", text in "[abé]{0,9}") {
            let p: Vec<char> = pattern.chars().collect();
            let t: Vec<char> = text.chars().collect();
            prop_assert_eq!(Glob::new(&pattern).matches(&text), naive(&p, &t));
        }
    }
}
