//! Notes that other threads leave on a reactor: completions of what happened in this process, not in the kernel.

use super::{Token, Waker};
use std::sync::{Arc, Mutex, PoisonError};

/// Leaves notes on one reactor. Clones write to the same one.
#[derive(Debug, Clone)]
pub struct Notes {
    tokens: Arc<Mutex<Vec<Token>>>,
    waker: Waker,
}

impl Notes {
    pub(super) fn new(waker: Waker) -> Self {
        Self { tokens: Arc::default(), waker }
    }

    /// Makes the reactor's `wait` return a completion of [`Op::Note`](super::Op::Note) with this token. Who leaves
    /// notes sees to it that not many of one kind lie there unread.
    pub fn leave(&self, token: Token) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).push(token);
        self.waker.wake();
    }

    /// The notes left since the last time, in order.
    pub(super) fn take(&self, into: &mut Vec<Token>) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *tokens, into);
    }
}
