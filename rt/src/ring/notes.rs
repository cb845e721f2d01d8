//! What other threads leave on a reactor for its tasks: completions of what happened in this process, not in the
//! kernel, and wake-ups.

use super::alarm::Alarm;
use super::{TaskId, Token};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug)]
pub(super) enum Note {
    /// Something of the task's, known to it by its token, has happened.
    Happened(TaskId, Token),
    /// The task shall look around. The flag says that this note lies here.
    Wake(TaskId, Arc<AtomicBool>),
}

/// Where all notes to one reactor lie.
#[derive(Debug, Clone)]
pub(super) struct Board {
    notes: Arc<Mutex<Vec<Note>>>,
    alarm: Alarm,
}

impl Board {
    pub fn new(alarm: Alarm) -> Self {
        Self { notes: Arc::default(), alarm }
    }

    fn leave(&self, note: Note) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
        self.alarm.ring();
    }

    /// The notes left since the last time, in order.
    pub fn take(&self, into: &mut Vec<Note>) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *notes, into);
    }
}

/// Leaves notes to one task of a reactor. Clones write to the same one.
#[derive(Debug, Clone)]
pub struct Notes {
    board: Board,
    task: TaskId,
}

impl Notes {
    pub(super) fn new(board: Board, task: TaskId) -> Self {
        Self { board, task }
    }

    /// Makes the reactor's `wait` return a completion of [`Op::Note`](super::Op::Note) with this token. Who leaves
    /// notes sees to it that not many of one kind lie there unread.
    pub fn leave(&self, token: Token) {
        self.board.leave(Note::Happened(self.task, token));
    }
}

/// Ends the present or next [`Reactor::wait`](super::Reactor::wait), for one task. Clones are the same waker.
///
/// Put the message where the task looks, then wake; the task looks after each `wait` that ended for it.
#[derive(Debug, Clone)]
pub struct Waker {
    board: Board,
    task: TaskId,
    is_due: Arc<AtomicBool>,
}

impl Waker {
    pub(super) fn new(board: Board, task: TaskId) -> Self {
        Self { board, task, is_due: Arc::default() }
    }

    pub fn wake(&self) {
        // Whoever takes the note clears the flag before the task looks.
        if !self.is_due.swap(true, Ordering::SeqCst) {
            self.board.leave(Note::Wake(self.task, Arc::clone(&self.is_due)));
        }
    }
}
