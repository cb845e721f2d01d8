//! As much of SVG as bars and text need. A crate for charts would bring more code than this and decide the look.

use std::fmt::Write;

/// A picture that grows downwards; its height is known at its end.
pub struct Svg {
    width: f64,
    body: String,
}

/// Where text stands relative to its point.
#[derive(Debug, Clone, Copy)]
pub enum Anchor {
    Start,
    End,
}

#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub size: f64,
    pub color: &'static str,
    pub is_bold: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct Rect {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl Svg {
    pub fn new(width: f64) -> Self {
        Self { width, body: String::new() }
    }

    pub fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, style: Style, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::End => "end",
        };
        let weight = if style.is_bold { " font-weight=\"600\"" } else { "" };
        let (size, color) = (style.size, style.color);
        self.line(&format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" fill=\"{color}\"{weight}>{}</text>",
            escape(text)
        ));
    }

    /// A text with another behind it, wherever the first ends.
    pub fn pair(&mut self, (x, y): (f64, f64), (style, text): (Style, &str), (next, behind): (Style, &str)) {
        let weight = |style: Style| if style.is_bold { " font-weight=\"600\"" } else { "" };
        self.line(&format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\"><tspan font-size=\"{}\" fill=\"{}\"{}>{}</tspan>\
             <tspan dx=\"10\" font-size=\"{}\" fill=\"{}\"{}>{}</tspan></text>",
            style.size,
            style.color,
            weight(style),
            escape(text),
            next.size,
            next.color,
            weight(next),
            escape(behind)
        ));
    }

    pub fn rect(&mut self, rect: Rect, radius: f64, color: &str) {
        let Rect { x, y, width, height } = rect;
        self.line(&format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{radius}\" fill=\"{color}\"/>"
        ));
    }

    /// A straight line.
    pub fn stroke(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), color: &str) {
        self.line(&format!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{color}\" stroke-width=\"1\"/>"
        ));
    }

    /// The whole, on a ground of its own: a page may be dark.
    pub fn finish(self, height: f64, title: &str) -> String {
        let width = self.width;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" \
             font-family=\"system-ui, -apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif\">\n\
             <title>{}</title>\n\
             <rect x=\"0.5\" y=\"0.5\" width=\"{:.0}\" height=\"{:.0}\" rx=\"8\" fill=\"#ffffff\" stroke=\"#d0d7de\"/>\n\
             {}</svg>\n",
            escape(title),
            width - 1.0,
            height - 1.0,
            self.body
        )
    }

    fn line(&mut self, element: &str) {
        writeln!(self.body, "{element}").expect("a String takes everything");
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_not_break_out() {
        let mut svg = Svg::new(100.0);
        let style = Style { size: 10.0, color: "#000000", is_bold: false };
        svg.text((1.0, 2.0), Anchor::End, style, "</text><script>\"&\u{7}");
        let text = svg.finish(50.0, "a < b");
        assert!(text.contains("&lt;/text&gt;&lt;script&gt;&quot;&amp; </text>"), "{text}");
        assert!(text.contains("<title>a &lt; b</title>") && text.ends_with("</svg>\n"));
    }
}
