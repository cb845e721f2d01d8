//! Text of a policy in which there can be wildcards and variables.
//!
//! `${key}` and `${key, 'default'}` stand for a value of the request, `${*}`, `${?}` and `${$}` for those
//! characters themselves; in Version 2012-10-17 only. What a variable stands for is never a wildcard, so that a
//! caller who chooses a value can't widen a pattern.
//!
//! Source: IAM User Guide, "IAM policy elements: Variables and tags".

use std::borrow::Cow;

use crate::context::Context;
use crate::wildcard::{Glob, Glyph};

/// How `*` and `?` outside `${}` are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wildcards {
    Match,
    Literal,
}

/// How `${` is read: by the policy's Version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variables {
    Resolve,
    Literal,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Glyph(Glyph),
    Variable { key: String, default: Option<String> },
}

/// A parsed text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
    /// Its pattern, if nothing of it waits for a request.
    ready: Option<Glob>,
}

impl Template {
    pub(crate) fn parse(text: &str, wildcards: Wildcards, variables: Variables) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if variables == Variables::Resolve && rest.starts_with("${") {
                let end =
                    rest.find('}').ok_or_else(|| format!("the variable in {text:?} has no closing brace"))?;
                parts.push(Self::variable(&rest[2..end], text)?);
                rest = &rest[end + 1..];
                continue;
            }
            parts.push(Part::Glyph(match (c, wildcards) {
                ('*', Wildcards::Match) => Glyph::Many,
                ('?', Wildcards::Match) => Glyph::One,
                (c, _) => Glyph::Char(c),
            }));
            rest = &rest[c.len_utf8()..];
        }
        Ok(Self::of(parts))
    }

    fn of(parts: Vec<Part>) -> Self {
        let glyphs: Option<Vec<Glyph>> = parts
            .iter()
            .map(|part| match part {
                Part::Glyph(glyph) => Some(*glyph),
                Part::Variable { .. } => None,
            })
            .collect();
        Self { ready: glyphs.map(Glob::of), parts }
    }

    fn variable(inner: &str, text: &str) -> Result<Part, String> {
        if let "*" | "?" | "$" = inner {
            return Ok(Part::Glyph(Glyph::Char(inner.chars().next().unwrap_or('$'))));
        }
        let (key, default) = match inner.split_once(',') {
            None => (inner, None),
            Some((key, default)) => {
                let quoted = default.trim().strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
                let value = quoted
                    .filter(|value| !value.contains('\''))
                    .ok_or_else(|| format!("a variable's default in {text:?} isn't in single quotes"))?;
                (key.trim_end(), Some(value.to_owned()))
            }
        };
        let known = |c: char| c.is_ascii_alphanumeric() || "-_:/.@+=".contains(c);
        if key.is_empty() || !key.contains(':') || !key.chars().all(known) {
            return Err(format!("${{{inner}}} is no variable; write ${{$}} for a dollar sign"));
        }
        Ok(Part::Variable { key: key.to_ascii_lowercase(), default })
    }

    /// Whether it waits for a value of a key, in lower case, that begins so.
    pub(crate) fn asks_for(&self, start: &str) -> bool {
        let asks = |part: &Part| matches!(part, Part::Variable { key, .. } if key.starts_with(start));
        self.parts.iter().any(asks)
    }

    /// Its pieces between colons that the policy itself wrote: `count` at most, the last with all the rest.
    pub(crate) fn split_colons(&self, count: usize) -> Vec<Template> {
        let mut pieces = Vec::new();
        let mut piece = Vec::new();
        for part in &self.parts {
            if *part == Part::Glyph(Glyph::Char(':')) && pieces.len() + 1 < count {
                pieces.push(Self::of(std::mem::take(&mut piece)));
            } else {
                piece.push(part.clone());
            }
        }
        pieces.push(Self::of(piece));
        pieces
    }

    /// The text, if there is neither a wildcard nor a variable in it.
    pub(crate) fn literal(&self) -> Option<String> {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Glyph(Glyph::Char(c)) => Some(*c),
                _ => None,
            })
            .collect()
    }

    /// What comes before its first `/`, and whether there is one.
    pub(crate) fn before_slash(&self) -> (Template, bool) {
        let slash = self.parts.iter().position(|part| *part == Part::Glyph(Glyph::Char('/')));
        let end = slash.unwrap_or(self.parts.len());
        (Self::of(self.parts[..end].to_vec()), slash.is_some())
    }

    /// Its pattern for a request; `None` if a variable has no value there.
    pub(crate) fn resolve(&self, context: &Context) -> Option<Cow<'_, Glob>> {
        self.resolve_by(context, str::to_owned)
    }

    /// The same with its variables' values in lower case.
    pub(crate) fn resolve_folded(&self, context: &Context) -> Option<Cow<'_, Glob>> {
        self.resolve_by(context, crate::condition::fold)
    }

    fn resolve_by(&self, context: &Context, change: fn(&str) -> String) -> Option<Cow<'_, Glob>> {
        if let Some(glob) = &self.ready {
            return Some(Cow::Borrowed(glob));
        }
        let mut glyphs = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            match part {
                Part::Glyph(glyph) => glyphs.push(*glyph),
                Part::Variable { key, default } => {
                    let value = context.single(key).or(default.as_deref())?;
                    glyphs.extend(change(value).chars().map(Glyph::Char));
                }
            }
        }
        Some(Cow::Owned(Glob::of(glyphs)))
    }

    /// Whether it stands for exactly one text whatever the request.
    pub(crate) fn is_fixed(&self) -> bool {
        // A star or variable that is literal here still says "anything" to who wrote it: not taken as fixed.
        self.parts
            .iter()
            .all(|part| matches!(part, Part::Glyph(Glyph::Char(c)) if !matches!(c, '*' | '?' | '$')))
    }

    pub(crate) fn has_variable(&self) -> bool {
        self.ready.is_none()
    }

    /// Whether it matches `text` with no request at all.
    pub(crate) fn covers(&self, text: &str) -> bool {
        self.ready.as_ref().is_some_and(|glob| glob.matches(text))
    }

    pub(crate) fn has_star(&self) -> bool {
        self.parts.contains(&Part::Glyph(Glyph::Many))
    }

    /// Whether `text` followed by something may match: what is before the first star or variable fits it.
    pub(crate) fn could_begin(&self, text: &str) -> bool {
        let mut chars = text.chars();
        for part in &self.parts {
            match (part, chars.next()) {
                (Part::Glyph(Glyph::Many) | Part::Variable { .. }, _) => return true,
                (Part::Glyph(Glyph::One), Some(_)) => {}
                (Part::Glyph(Glyph::Char(wanted)), Some(c)) if *wanted == c => {}
                // The bucket's name has ended: only a slash can follow it.
                (Part::Glyph(_), _) => return false,
            }
        }
        false
    }

    /// Whether a wildcard ends it.
    pub(crate) fn ends_in_star(&self) -> bool {
        self.parts.last() == Some(&Part::Glyph(Glyph::Many))
    }

    /// Whether it is a single variable and nothing else.
    pub(crate) fn is_one_variable(&self) -> bool {
        matches!(self.parts.as_slice(), [Part::Variable { .. }])
    }
}
