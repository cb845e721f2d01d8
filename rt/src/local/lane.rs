//! One direction of a local connection: messages from one thread to another, with word to whoever waits.

use crate::limits::BUSY_QUEUED_BYTES;
use crate::ring::{Notes, Token};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whom to tell, and with which token.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub notes: Notes,
    pub token: Token,
}

impl Address {
    pub fn tell(&self) {
        self.notes.leave(self.token);
    }
}

/// Messages on their way. Its lock is held for moving them in or out, never while anything waits.
#[derive(Debug)]
pub(super) struct Lane<T> {
    state: Mutex<State<T>>,
    /// Bytes queued by the writer and not taken by the reader, those that the writer still holds back included.
    bytes: AtomicUsize,
}

#[derive(Debug)]
struct State<T> {
    messages: Vec<T>,
    /// The writer is gone: nothing comes after `messages`.
    ended: bool,
    /// The reader is gone: nobody wants what comes.
    abandoned: bool,
    /// The reader was told that there is something, and has not looked since.
    told: bool,
    reader: Option<Address>,
    /// The writer, if it waits until there is room.
    waiting: Option<Address>,
}

/// What a reader found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Messages,
    Nothing,
    End,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        let state = State {
            messages: Vec::new(),
            ended: false,
            abandoned: false,
            told: false,
            reader: None,
            waiting: None,
        };
        Self { state: Mutex::new(state), bytes: AtomicUsize::new(0) }
    }
}

impl<T> Lane<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that the reader has not taken.
    pub fn len_bytes(&self) -> usize {
        self.bytes.load(Ordering::SeqCst)
    }

    /// The writer has queued this many bytes more, to be moved in soon.
    pub fn add_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    /// Moves messages in and tells the reader. If it has much to take, `writer` is told when it took it.
    pub fn put(&self, messages: &mut Vec<T>, writer: &Address) {
        let mut state = self.state();
        if state.abandoned {
            drop(state);
            messages.clear();
            return;
        }
        if state.messages.is_empty() {
            std::mem::swap(&mut state.messages, messages);
        } else {
            state.messages.append(messages);
        }
        if self.len_bytes() > BUSY_QUEUED_BYTES {
            state.waiting.get_or_insert_with(|| writer.clone());
        }
        let reader = if std::mem::replace(&mut state.told, true) { None } else { state.reader.clone() };
        drop(state);
        if let Some(reader) = reader {
            reader.tell();
        }
    }

    /// Moves everything out into `into`, which is empty; `bytes_of` measures a message.
    pub fn take(&self, into: &mut Vec<T>, bytes_of: impl Fn(&T) -> usize) -> Found {
        let mut state = self.state();
        state.told = false;
        std::mem::swap(&mut state.messages, into);
        let writer = state.waiting.take();
        let found = match (into.is_empty(), state.ended) {
            (false, _) => Found::Messages,
            (true, false) => Found::Nothing,
            (true, true) => Found::End,
        };
        drop(state);
        self.bytes.fetch_sub(into.iter().map(bytes_of).sum(), Ordering::SeqCst);
        if let Some(writer) = writer {
            writer.tell();
        }
        found
    }

    /// Says who reads, who is told at once if something is there already.
    pub fn set_reader(&self, reader: Address) {
        let mut state = self.state();
        let is_due = state.told || state.ended;
        state.reader = Some(reader.clone());
        drop(state);
        if is_due {
            reader.tell();
        }
    }

    /// Whether the writer is gone; there may be messages of its left.
    pub fn is_ended(&self) -> bool {
        self.state().ended
    }

    /// The writer goes.
    pub fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        state.waiting = None;
        let reader = state.reader.clone();
        drop(state);
        if let Some(reader) = reader {
            reader.tell();
        }
    }

    /// The reader goes.
    pub fn abandon(&self) {
        let mut state = self.state();
        state.abandoned = true;
        state.reader = None;
        state.waiting = None;
        let unread = std::mem::take(&mut state.messages);
        drop(state);
        drop(unread);
    }
}
