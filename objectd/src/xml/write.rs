//! Writes an answer's XML.

use std::fmt::Display;
use std::fmt::Write as _;

/// The namespace of every S3 answer but errors.
pub const S3_NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// A document being written: elements are opened, filled and closed in order.
#[derive(Debug)]
pub struct XmlWriter {
    out: String,
    open: Vec<&'static str>,
}

impl XmlWriter {
    /// A document whose root is `root` in S3's namespace.
    pub fn new(root: &'static str) -> Self {
        Self::in_namespace(root, S3_NAMESPACE)
    }

    /// A document whose root is in another namespace.
    pub fn in_namespace(root: &'static str, namespace: &'static str) -> Self {
        let mut writer = Self::bare();
        let _ = write!(writer.out, "<{root} xmlns=\"{namespace}\">");
        writer.open.push(root);
        writer
    }

    /// A document whose root has no namespace, as errors have it.
    pub fn plain(root: &'static str) -> Self {
        let mut writer = Self::bare();
        writer.start(root);
        writer
    }

    fn bare() -> Self {
        Self { out: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned(), open: Vec::new() }
    }

    pub fn start(&mut self, name: &'static str) {
        self.tag("<", name);
        self.open.push(name);
    }

    /// Opens an element with attributes already written as XML (constants only).
    pub fn start_with(&mut self, name: &'static str, attributes: &'static str) {
        let _ = write!(self.out, "<{name} {attributes}>");
        self.open.push(name);
    }

    pub fn end(&mut self) {
        let name = self.open.pop().expect("every end has a start");
        self.tag("</", name);
    }

    /// `<name>text</name>`, escaped.
    pub fn text(&mut self, name: &'static str, text: &str) {
        self.tag("<", name);
        escape(text, &mut self.out);
        self.tag("</", name);
    }

    /// `<name>"text"</name>`, escaped.
    pub fn quoted(&mut self, name: &'static str, text: &str) {
        self.tag("<", name);
        self.out.push_str(QUOTE);
        escape(text, &mut self.out);
        self.out.push_str(QUOTE);
        self.tag("</", name);
    }

    fn tag(&mut self, opening: &str, name: &'static str) {
        self.out.push_str(opening);
        self.out.push_str(name);
        self.out.push('>');
    }

    /// Text right inside the open element, escaped.
    pub fn inner_text(&mut self, text: &str) {
        escape(text, &mut self.out);
    }

    /// [`text`](Self::text) if there is one.
    pub fn optional(&mut self, name: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// `<name>value</name>` of a number or a flag.
    pub fn value(&mut self, name: &'static str, value: impl Number) {
        self.tag("<", name);
        let _ = write!(self.out, "{value}");
        self.tag("</", name);
    }

    /// Closes what is open and returns the document.
    pub fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.end();
        }
        self.out
    }
}

/// What is written without a character to escape.
pub trait Number: Display {}

impl<N: Number> Number for &N {}
impl Number for bool {}
impl Number for u16 {}
impl Number for u32 {}
impl Number for u64 {}
impl Number for usize {}

const QUOTE: &str = "&quot;";

/// Whether a byte stands for itself. The first of U+FFFE and U+FFFF does not: they are looked at as a whole.
fn is_plain(byte: u8) -> bool {
    !matches!(byte, b'&' | b'<' | b'>' | b'"' | 0..=8 | 0x0b..=0x1f | 0x7f | 0xef)
}

/// Escapes as S3 does. Control characters, which XML 1.0 can't hold, become references all the same: that is
/// what S3 sends, and `encoding-type=url` exists for clients that mind.
pub fn escape(text: &str, out: &mut String) {
    let plain = text.bytes().take_while(|byte| is_plain(*byte)).count();
    // What follows begins a character, so this is one of the text's borders.
    let (plain, rest) = text.split_at(plain);
    out.push_str(plain);
    escape_slowly(rest, out);
}

fn escape_slowly(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str(QUOTE),
            '\n' | '\t' => out.push(character),
            control if control < ' ' || control == '\u{7f}' => {
                let _ = write!(out, "&#x{:x};", u32::from(control));
            }
            '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(out, "&#x{:x};", u32::from(character));
            }
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_nested_and_escaped() {
        let mut xml = XmlWriter::new("R");
        xml.text("K", "a<&>\"\r\u{1}\n é");
        xml.quoted("E", "b\u{ffff}\u{fffd}\"");
        xml.start("C");
        xml.value("N", 7u32);
        xml.optional("O", None);
        let text = xml.finish();
        assert_eq!(
            text,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<R xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <K>a&lt;&amp;&gt;&quot;&#xd;&#x1;\n é</K><E>&quot;b&#xffff;\u{fffd}&quot;&quot;</E><C><N>7</N></C></R>"
        );
    }
}
