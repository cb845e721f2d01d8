//! The control thread: accepts front ends, one at a time, and runs their sessions.

use crate::config_space;
use crate::continuing::{self, SET_FEATURES};
use crate::data::{Command, DataLink};
use crate::error::Error;
use crate::session::{Offer, Session, refused};
use crate::tap::{self, BackendSocket, Next};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vhost::vhost_user::{BackendReqHandler, Error as ProtocolError};

/// What other threads see of the control thread, and how they end what it waits for.
#[derive(Default)]
pub struct Line {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_stopping: bool,
    /// The present session's connection.
    connection: Option<UnixStream>,
    /// Its front end has begun to speak.
    is_heard: bool,
    /// Where the present session's front end takes requests.
    backend: Option<BackendSocket>,
    /// This session's end was ours, and `last_error` says why.
    is_hung_up: bool,
    sessions: u64,
    last_error: Option<String>,
}

/// A snapshot of a [`Line`].
#[derive(Debug, Clone)]
pub struct LineStatus {
    pub is_connected: bool,
    /// Connected, and not a word yet.
    pub is_silent: bool,
    pub sessions: u64,
    pub last_error: Option<String>,
}

impl Line {
    /// Ends the present session's connection, because of `error`.
    pub fn hang_up(&self, error: &Error) {
        let mut state = self.lock();
        state.last_error = Some(error.message.clone());
        state.is_hung_up = true;
        state.close();
    }

    /// Ends the present connection, if there is one, and lets no other begin.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.is_stopping = true;
        state.close();
    }

    /// Tells the front end, if it wants to know, to read the config space again.
    pub fn say_config_changed(&self) {
        let mut state = self.lock();
        if let Some(Err(error)) = state.backend.as_ref().map(BackendSocket::say_config_changed) {
            tracing::info!(%error, "a front end can't be told of a change");
            state.backend = None;
        }
    }

    pub fn status(&self) -> LineStatus {
        let state = self.lock();
        LineStatus {
            is_connected: state.connection.is_some(),
            is_silent: state.connection.is_some() && !state.is_heard,
            sessions: state.sessions,
            last_error: state.last_error.clone(),
        }
    }

    fn set_backend(&self, socket: BackendSocket) {
        self.lock().backend = Some(socket);
    }

    fn begin(&self, stream: &UnixStream) -> std::io::Result<bool> {
        let mut state = self.lock();
        if state.is_stopping {
            return Ok(false);
        }
        state.connection = Some(stream.try_clone()?);
        state.sessions += 1;
        (state.is_heard, state.is_hung_up) = (false, false);
        Ok(true)
    }

    fn heard(&self) {
        self.lock().is_heard = true;
    }

    fn end(&self, error: Option<String>) {
        let mut state = self.lock();
        state.connection = None;
        state.backend = None;
        // Why we hung up says more than that the connection broke.
        if !state.is_hung_up && error.is_some() {
            state.last_error = error;
        }
    }

    fn is_stopping(&self) -> bool {
        self.lock().is_stopping
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn close(&self) {
        if let Some(connection) = &self.connection {
            // It fails only when the other side was faster.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

/// Makes a blocked `accept` on the listener return, for good.
pub fn close_listener(listener: &UnixListener) {
    let Ok(clone) = listener.try_clone() else { return };
    // The standard library has no shutdown for listeners; for the kernel both are sockets.
    let _ = UnixStream::from(OwnedFd::from(clone)).shutdown(Shutdown::Both);
}

/// Serves one session after the other until the line is stopped.
pub fn run(listener: &UnixListener, line: &Line, offer: &Offer, data: &DataLink) {
    while !line.is_stopping() {
        match listener.accept() {
            Ok((stream, _)) => {
                if let Err(error) = serve(stream, line, offer, data) {
                    tracing::error!(%error, "the device can't serve sessions any more");
                    line.hang_up(&error);
                    return;
                }
            }
            Err(_) if line.is_stopping() => return,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                let error = Error::system("the device's socket", error);
                tracing::error!(%error, "the device can't serve sessions any more");
                line.hang_up(&error);
                return;
            }
        }
    }
}

/// Runs one session to its end. Fails only when the device itself can't go on.
fn serve(stream: UnixStream, line: &Line, offer: &Offer, data: &DataLink) -> Result<(), Error> {
    let begun = line.begin(&stream).map_err(|error| Error::system("a session's connection", error))?;
    if !begun {
        return Ok(());
    }
    let own = stream.try_clone().map_err(|error| Error::system("a session's connection", error))?;
    let session = Arc::new(Mutex::new(Session::new(offer.clone(), data.clone())));
    let error = match handle(stream, &own, &session, offer, line) {
        ProtocolError::Disconnected => None,
        error => Some(error.to_string()),
    };
    if let Some(error) = &error {
        tracing::info!(%error, "a session ended");
    }
    // First the data task lets go of guest memory, then the front end sees its connection close.
    let ended = data.ask(Command::EndSession);
    line.end(error);
    ended
}

/// Takes messages until the session ends, and says why it did.
fn handle(
    stream: UnixStream,
    own: &UnixStream,
    session: &Arc<Mutex<Session>>,
    offer: &Offer,
    line: &Line,
) -> ProtocolError {
    let first = tap::await_request(own);
    line.heard();
    let mut handler = if first == Some(SET_FEATURES) {
        tracing::info!("a front end continues with what it agreed on with a device before this one");
        match continuing::handler(stream, session, config_space::protocol_features(offer.memory_slots)) {
            Ok(handler) => handler,
            Err(error) => return error,
        }
    } else {
        BackendReqHandler::from_stream(stream, Arc::clone(session))
    };
    loop {
        match take_message(own, &mut handler, session, line) {
            Ok(()) | Err(ProtocolError::SocketRetry(_)) => {}
            Err(error) => return error,
        }
    }
}

/// Takes one message from a front end.
pub fn take_message(
    stream: &UnixStream,
    handler: &mut BackendReqHandler<Mutex<Session>>,
    session: &Mutex<Session>,
    line: &Line,
) -> Result<(), ProtocolError> {
    let session = || session.lock().unwrap_or_else(PoisonError::into_inner);
    match tap::look(stream) {
        Next::Other => handler.handle_request(),
        Next::BackendSocket(socket) => {
            // The crate checks that it was negotiated and that the descriptor is a socket.
            handler.handle_request()?;
            let socket = socket.ok_or(ProtocolError::IncorrectFds)?;
            line.set_backend(BackendSocket::new(socket).map_err(refused)?);
            Ok(())
        }
        Next::LogCall { call, needs_reply } => {
            session().set_log_call(call)?;
            if needs_reply && session().has_reply_ack() {
                tap::acknowledge_log_call(stream).map_err(ProtocolError::SocketBroken)?;
            }
            Ok(())
        }
        Next::BadLogCall => Err(ProtocolError::InvalidMessage),
    }
}
