//! Turns concurrent proposals into few log entries: whatever arrives while entries are in the air goes into
//! the next one.

use super::{CommandBatch, Raft};
use crate::command::{Command, Response};
use crate::error::{ErrorKind, MetaError, Refusal};
use crate::limits::{
    MAX_BATCH_BYTES, MAX_BATCH_COMMANDS, MAX_BATCHES_IN_FLIGHT, MAX_COMMAND_BYTES, MAX_WAITING_PROPOSALS,
};
use crate::metrics::MetaMetrics;
use openraft::error::{ClientWriteError, RaftError};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, oneshot};

type Answer = Result<Result<Response, Refusal>, MetaError>;

/// A command that waits for its place in the log.
struct Proposal {
    command: Command,
    bytes: usize,
    answer: oneshot::Sender<Answer>,
}

/// A handle to the proposing task. The task ends when the last handle is dropped.
#[derive(Clone)]
pub struct Proposer {
    queue: mpsc::Sender<Proposal>,
    metrics: MetaMetrics,
}

impl Proposer {
    /// Starts the task. `after` is told when an entry went through.
    pub fn start(raft: Raft, metrics: MetaMetrics, after: impl Fn() + Send + Sync + 'static) -> Self {
        let (queue, proposals) = mpsc::channel(MAX_WAITING_PROPOSALS);
        tokio::spawn(run(raft, proposals, metrics.clone(), Arc::new(after)));
        Self { queue, metrics }
    }

    pub async fn propose(&self, command: Command) -> Result<Response, MetaError> {
        let result = self.send(command).await;
        let outcome = match &result {
            Ok(Ok(_)) => "applied",
            Ok(Err(_)) => "refused",
            Err(_) => "failed",
        };
        MetaMetrics::count(&self.metrics.proposals, outcome);
        result?.map_err(MetaError::from)
    }

    async fn send(&self, command: Command) -> Answer {
        let size = postcard::serialize_with_flavor(&command, postcard::ser_flavors::Size::default());
        let bytes =
            size.map_err(|e| MetaError::new(ErrorKind::Invalid, "can't encode the command").with_source(e))?;
        if bytes > MAX_COMMAND_BYTES {
            let message = format!("a command of {bytes} bytes is larger than {MAX_COMMAND_BYTES}");
            return Err(MetaError::new(ErrorKind::Invalid, message));
        }
        let (answer, answered) = oneshot::channel();
        self.queue.send(Proposal { command, bytes, answer }).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }
}

fn stopping() -> MetaError {
    MetaError::new(ErrorKind::Unavailable, "the control plane is stopping")
}

async fn run(
    raft: Raft,
    mut proposals: mpsc::Receiver<Proposal>,
    metrics: MetaMetrics,
    after: Arc<dyn Fn() + Send + Sync>,
) {
    let in_flight = Arc::new(Semaphore::new(MAX_BATCHES_IN_FLIGHT));
    while let Some(first) = proposals.recv().await {
        let Ok(permit) = Arc::clone(&in_flight).acquire_owned().await else { return };
        let mut bytes = first.bytes;
        let mut commands = vec![first.command];
        let mut answers = vec![first.answer];
        while commands.len() < MAX_BATCH_COMMANDS && bytes < MAX_BATCH_BYTES {
            let Ok(next) = proposals.try_recv() else { break };
            bytes += next.bytes;
            commands.push(next.command);
            answers.push(next.answer);
        }
        metrics.batch_commands.observe(f64::from(u32::try_from(commands.len()).unwrap_or(u32::MAX)));
        let (raft, after) = (raft.clone(), Arc::clone(&after));
        tokio::spawn(async move {
            let written = raft.client_write(CommandBatch(Arc::new(commands))).await;
            drop(permit);
            match written {
                Ok(written) => {
                    for (answer, result) in answers.into_iter().zip(written.data.0) {
                        // Whoever asked may have gone.
                        let _ = answer.send(Ok(result));
                    }
                }
                Err(error) => {
                    let error = cant_propose(error);
                    for answer in answers {
                        let _ = answer.send(Err(error.clone()));
                    }
                }
            }
            after();
        });
    }
}

fn cant_propose(error: RaftError<u64, ClientWriteError<u64, openraft::BasicNode>>) -> MetaError {
    let message = match &error {
        RaftError::Fatal(_) => "the control plane has stopped; see its log for why",
        RaftError::APIError(_) => "this node is not the control plane's leader; try again",
    };
    MetaError::new(ErrorKind::Unavailable, message).with_source(error)
}
