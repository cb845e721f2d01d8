//! Long work shows itself: on stderr, and only if that is a terminal. Data on stdout is the same with and without.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// How often a sign of life moves.
const TICK: Duration = Duration::from_millis(200);

/// How much of something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Far {
    pub done: u64,
    pub total: u64,
}

impl Far {
    /// Never more than there is, whatever was counted while it changed.
    pub fn of(done: u64, total: u64) -> Self {
        Self { done: done.min(total), total }
    }

    /// Of `first`, so much is left: what came to it since makes the whole larger.
    pub fn left(first: u64, left: u64) -> Self {
        let total = first.max(left);
        Self { done: total - left, total }
    }
}

/// What is counted, for how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Groups,
    Objects,
    Percent,
}

impl Unit {
    fn template(self) -> &'static str {
        match self {
            Self::Bytes => "{msg} [{bar:30}] {percent} % {binary_bytes} of {binary_total_bytes}, {eta} left",
            Self::Groups => "{msg} [{bar:30}] {percent} % {pos} of {len} groups, {eta} left",
            Self::Objects => "{msg} [{bar:30}] {percent} % {pos} of {len} objects, {eta} left",
            Self::Percent => "{msg} [{bar:30}] {percent} %, {eta} left",
        }
    }
}

/// A sign on stderr that something is waited for and for how long; until dropped.
pub fn waiting(what: String) -> Waiting {
    let spinner = ProgressBar::new_spinner().with_style(style("{spinner} {msg} ({elapsed})"));
    spinner.set_message(what);
    spinner.enable_steady_tick(TICK);
    Waiting(spinner)
}

/// A bar on stderr, from nothing on; until dropped.
pub fn bar(what: String, unit: Unit) -> Bar {
    let bar = ProgressBar::new(0).with_style(style(unit.template()).progress_chars("=> "));
    bar.set_message(what);
    bar.enable_steady_tick(TICK);
    Bar(bar)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// See [`waiting`].
#[must_use]
pub struct Waiting(ProgressBar);

impl Waiting {
    /// Says something else from now on.
    pub fn say(&self, what: String) {
        self.0.set_message(what);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// See [`bar`].
#[must_use]
pub struct Bar(ProgressBar);

impl Bar {
    /// It is as far as this now.
    pub fn at(&self, far: Far) {
        self.0.set_length(far.total);
        self.0.set_position(far.done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::{InMemoryTerm, ProgressDrawTarget};

    /// What a terminal shows of a bar.
    fn shown(unit: Unit, far: Far) -> String {
        let terminal = InMemoryTerm::new(4, 120);
        let bar = bar("import of v".into(), unit);
        bar.0.set_draw_target(ProgressDrawTarget::term_like(Box::new(terminal.clone())));
        bar.at(far);
        bar.0.force_draw();
        let text = terminal.contents();
        drop(bar);
        assert_eq!(terminal.contents(), "", "nothing stays behind");
        text
    }

    #[test]
    fn bars_say_what_and_how_much() {
        let text = shown(Unit::Bytes, Far::of(512 << 20, 2 << 30));
        assert!(text.starts_with("import of v [=======>"), "{text}");
        assert!(text.contains("] 25 % 512.00 MiB of 2.00 GiB, "), "{text}");
        let text = shown(Unit::Groups, Far::left(128, 32));
        assert!(text.contains("] 75 % 96 of 128 groups, "), "{text}");
        let text = shown(Unit::Percent, Far::of(40, 100));
        assert!(text.contains("] 40 %, "), "{text}");
    }

    #[test]
    fn what_changes_meanwhile_is_never_more_than_all() {
        assert_eq!(Far::of(7, 5), Far { done: 5, total: 5 });
        assert_eq!(Far::left(10, 4), Far { done: 6, total: 10 });
        assert_eq!(Far::left(10, 12), Far { done: 0, total: 12 });
        assert_eq!(Far::left(0, 0), Far { done: 0, total: 0 });
    }
}
