//! QMP, QEMU's monitor: JSON lines on a unix socket.

use crate::error::{ComputeError, ErrorKind};
use crate::limits::{MAX_QMP_LINE_BYTES, QMP_DEADLINE};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// One line from QEMU.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Something happened: its name and its data.
    Event(String, Value),
    /// A command's answer.
    Return(Value),
    /// A command's refusal, in QEMU's words.
    Refused(String),
}

/// A connection that has passed capabilities negotiation.
#[derive(Debug)]
pub struct Qmp {
    stream: UnixStream,
    buffer: Vec<u8>,
    events: VecDeque<(String, Value)>,
    /// Of the last command. QEMU's answer carries it, so that one that came too late is not taken for the next's.
    id: u64,
}

impl Qmp {
    /// Connects and leaves negotiation mode.
    pub async fn connect(socket: &Path) -> Result<Self, ComputeError> {
        let failed = |error| ComputeError::io(format!("can't reach QEMU at {}", socket.display()), error);
        let stream = UnixStream::connect(socket).await.map_err(failed)?;
        let mut qmp = Self { stream, buffer: Vec::new(), events: VecDeque::new(), id: 0 };
        timeout(QMP_DEADLINE, async {
            let greeting = qmp.line().await?;
            if greeting.get("QMP").is_none() {
                return Err(ComputeError::new(ErrorKind::Failed, "what listens is not QEMU's monitor"));
            }
            qmp.execute("qmp_capabilities").await
        })
        .await
        .map_err(|_| late("qmp_capabilities"))??;
        Ok(qmp)
    }

    /// Sends a command without waiting for its answer, which comes from `next`.
    pub async fn send(&mut self, command: &str) -> Result<(), ComputeError> {
        self.write(command, json!({})).await
    }

    async fn write(&mut self, command: &str, arguments: Value) -> Result<(), ComputeError> {
        self.id += 1;
        let line = json!({ "execute": command, "arguments": arguments, "id": self.id });
        let line = format!("{line}\n");
        self.stream.write_all(line.as_bytes()).await.map_err(|error| ComputeError::io("QEMU hung up", error))
    }

    /// Runs a command without arguments.
    pub async fn execute(&mut self, command: &str) -> Result<Value, ComputeError> {
        self.execute_with(command, json!({})).await
    }

    /// Runs a command and returns its answer; events that come first are kept for `next`.
    pub async fn execute_with(&mut self, command: &str, arguments: Value) -> Result<Value, ComputeError> {
        timeout(QMP_DEADLINE, async {
            self.write(command, arguments).await?;
            loop {
                let line = self.line().await?;
                if line.get("id").is_some_and(|id| *id != self.id) {
                    continue;
                }
                match message(line) {
                    Message::Event(name, data) => self.events.push_back((name, data)),
                    Message::Return(value) => return Ok(value),
                    Message::Refused(why) => {
                        return Err(ComputeError::new(
                            ErrorKind::Failed,
                            format!("QEMU refused {command}: {why}"),
                        ));
                    }
                }
            }
        })
        .await
        .map_err(|_| late(command))?
    }

    /// Whether the guest's processors run (`query-status`).
    pub async fn status(&mut self) -> Result<String, ComputeError> {
        let answer = self.execute("query-status").await?;
        Ok(answer["status"].as_str().unwrap_or("unknown").to_owned())
    }

    /// The next event or answer. Safe to drop and call again: a line read in part is kept.
    pub async fn next(&mut self) -> Result<Message, ComputeError> {
        if let Some((name, data)) = self.events.pop_front() {
            return Ok(Message::Event(name, data));
        }
        Ok(message(self.line().await?))
    }

    async fn line(&mut self) -> Result<Value, ComputeError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line).map_err(|error| {
                    ComputeError::io("QEMU's monitor sent something that is not JSON", error)
                });
            }
            if self.buffer.len() > MAX_QMP_LINE_BYTES {
                return Err(ComputeError::new(ErrorKind::Failed, "QEMU's monitor sent an endless line"));
            }
            let count = self.stream.read_buf(&mut self.buffer).await;
            if count.map_err(|error| ComputeError::io("QEMU hung up", error))? == 0 {
                return Err(ComputeError::new(ErrorKind::Failed, "QEMU closed its monitor"));
            }
        }
    }
}

fn message(value: Value) -> Message {
    if let Some(name) = value["event"].as_str() {
        return Message::Event(name.to_owned(), value["data"].clone());
    }
    if let Some(error) = value.get("error") {
        return Message::Refused(error["desc"].as_str().unwrap_or("without a reason").to_owned());
    }
    Message::Return(value.get("return").cloned().unwrap_or(Value::Null))
}

fn late(command: &str) -> ComputeError {
    ComputeError::new(ErrorKind::Timeout, format!("QEMU did not answer {command} in time"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::net::UnixListener;

    /// A monitor that answers every command with the next of `answers`.
    async fn serve(listener: UnixListener, greeting: &str, answers: &[&str]) {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(greeting.as_bytes()).await.unwrap();
        let (read, mut write) = stream.split();
        let mut lines = BufReader::new(read).lines();
        for answer in answers {
            let line = lines.next_line().await.unwrap().unwrap();
            assert!(line.contains(r#""execute":"#), "{line}");
            write.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn keeps_events_and_skips_late_answers_that_come_before_an_answer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("qmp");
        let listener = UnixListener::bind(&path).unwrap();
        let answers = [
            "{\"return\": {}}\r\n",
            "{\"event\": \"STOP\", \"data\": {\"a\": 1}}\r\n{\"return\": {\"status\": \"paused\"}}\r\n",
            "{\"return\": {}, \"id\": 2}\r\n{\"error\": {\"class\": \"X\", \"desc\": \"not now\"}, \"id\": 3}\r\n",
        ];
        let server = serve(listener, "{\"QMP\": {}}\r\n", &answers);
        let client = async {
            let mut qmp = Qmp::connect(&path).await.unwrap();
            assert_eq!(qmp.status().await.unwrap(), "paused");
            assert_eq!(qmp.next().await.unwrap(), Message::Event("STOP".into(), json!({"a": 1})));
            let refused = qmp.execute("system_powerdown").await.expect_err("refused");
            assert!(refused.to_string().contains("not now"), "{refused}");
        };
        tokio::join!(server, client);
    }

    #[tokio::test]
    async fn refuses_what_is_not_a_monitor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("qmp");
        let listener = UnixListener::bind(&path).unwrap();
        let (_, client) = tokio::join!(serve(listener, "{\"hello\": 1}\n", &[]), Qmp::connect(&path));
        assert_eq!(client.expect_err("refused").kind, ErrorKind::Failed);
    }
}
