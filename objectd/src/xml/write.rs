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
        let _ = write!(self.out, "<{name}>");
        self.open.push(name);
    }

    /// Opens an element with attributes already written as XML (constants only).
    pub fn start_with(&mut self, name: &'static str, attributes: &'static str) {
        let _ = write!(self.out, "<{name} {attributes}>");
        self.open.push(name);
    }

    pub fn end(&mut self) {
        let name = self.open.pop().expect("every end has a start");
        let _ = write!(self.out, "</{name}>");
    }

    /// `<name>text</name>`, escaped.
    pub fn text(&mut self, name: &'static str, text: &str) {
        let _ = write!(self.out, "<{name}>");
        escape(text, &mut self.out);
        let _ = write!(self.out, "</{name}>");
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
    pub fn value(&mut self, name: &'static str, value: impl Display) {
        self.text(name, &value.to_string());
    }

    /// Closes what is open and returns the document.
    pub fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.end();
        }
        self.out
    }
}

/// Escapes as S3 does. Control characters, which XML 1.0 can't hold, become references all the same: that is
/// what S3 sends, and `encoding-type=url` exists for clients that mind.
pub fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
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
        xml.start("C");
        xml.value("N", 7);
        xml.optional("O", None);
        let text = xml.finish();
        assert_eq!(
            text,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<R xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <K>a&lt;&amp;&gt;&quot;&#xd;&#x1;\n é</K><C><N>7</N></C></R>"
        );
    }
}
