//! Long work shows itself: on stderr, and only if that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

const TEMPLATE: &str = "{msg} [{bar:30}] {percent} % {pos} of {len}, {eta} left";

/// A bar for so many steps; clones share it.
pub fn bar(what: &str, total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(TEMPLATE).expect("the template is right: a test makes a bar");
    ProgressBar::new(total).with_style(style.progress_chars("=> ")).with_message(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_can_be_made() {
        let bar = bar("keys", 10);
        bar.inc(3);
        assert_eq!((bar.position(), bar.length(), bar.message().as_str()), (3, Some(10), "keys"));
    }
}
