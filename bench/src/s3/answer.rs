//! An HTTP/1.1 answer, read as it comes in: status, length or chunks, and pieces of the body.

use crate::limits::{S3_MAX_HEAD_BYTES, S3_MAX_LINE_BYTES};
use anyhow::{Context, Result, bail};

/// Reads one answer after the other of a connection.
#[derive(Default)]
pub struct Answer {
    state: State,
    line: Vec<u8>,
    pub status: u16,
    /// The server said that it closes the connection after this answer.
    pub closes: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Sized(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailer,
    Done,
}

impl Answer {
    /// Gets ready for the next answer.
    pub fn reset(&mut self) {
        *self = Self { line: std::mem::take(&mut self.line), ..Self::default() };
        self.line.clear();
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes what was received; pieces of the body go to `body` with the status.
    pub fn take(&mut self, mut input: &[u8], mut body: impl FnMut(u16, &[u8]) -> Result<()>) -> Result<()> {
        while !input.is_empty() {
            match self.state {
                State::Head => input = self.take_head(input)?,
                State::Sized(left) | State::Chunk(left) => {
                    let len = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
                    body(self.status, &input[..len])?;
                    input = &input[len..];
                    let left = left - len as u64;
                    self.state = match (self.state, left) {
                        (State::Chunk(_), 0) => State::ChunkEnd,
                        (State::Chunk(_), _) => State::Chunk(left),
                        (_, 0) => State::Done,
                        (_, _) => State::Sized(left),
                    };
                }
                State::ChunkSize | State::ChunkEnd | State::Trailer => input = self.take_line(input)?,
                State::Done => bail!("{} bytes came after the end of an answer", input.len()),
            }
        }
        Ok(())
    }

    fn take_head<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8]> {
        let before = self.line.len();
        self.line.extend_from_slice(&input[..input.len().min(S3_MAX_HEAD_BYTES)]);
        // The end may have begun in what came before.
        let from = before.saturating_sub(3);
        let Some(end) = memchr::memmem::find(&self.line[from..], b"\r\n\r\n").map(|end| from + end + 4)
        else {
            if self.line.len() >= S3_MAX_HEAD_BYTES {
                bail!("an answer's head is longer than {S3_MAX_HEAD_BYTES} bytes");
            }
            return Ok(&[]);
        };
        let head = std::mem::take(&mut self.line);
        self.parse_head(&head[..end])?;
        self.line = head;
        self.line.clear();
        Ok(&input[end - before..])
    }

    fn parse_head(&mut self, head: &[u8]) -> Result<()> {
        let text = std::str::from_utf8(head).context("an answer's head is not text")?;
        let mut lines = text.split("\r\n");
        let status = lines.next().unwrap_or_default();
        let number = status.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        self.status = number.with_context(|| format!("{status:?} is not the begin of an answer"))?;
        let mut state = (self.status == 204 || self.status == 304).then_some(State::Done);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") && state.is_none() {
                let len = value.parse().with_context(|| format!("content-length {value:?} is no number"))?;
                state = Some(if len == 0 { State::Done } else { State::Sized(len) });
            } else if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked")
            {
                state = Some(State::ChunkSize);
            } else if name.eq_ignore_ascii_case("connection") {
                self.closes = value.eq_ignore_ascii_case("close");
            }
        }
        self.state = state.with_context(|| format!("an answer with status {} has no length", self.status))?;
        Ok(())
    }

    fn take_line<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8]> {
        let Some(end) = memchr::memchr(b'\n', input) else {
            self.line.extend_from_slice(input);
            if self.line.len() > S3_MAX_LINE_BYTES {
                bail!("a line between chunks is longer than {S3_MAX_LINE_BYTES} bytes");
            }
            return Ok(&[]);
        };
        self.line.extend_from_slice(&input[..end]);
        let line = std::str::from_utf8(&self.line).context("a line between chunks is not text")?.trim();
        self.state = match self.state {
            State::ChunkSize => {
                let digits = line.split(';').next().unwrap_or_default();
                let size = u64::from_str_radix(digits, 16);
                let size = size.with_context(|| format!("{line:?} is not a chunk's size"))?;
                if size == 0 { State::Trailer } else { State::Chunk(size) }
            }
            State::ChunkEnd => State::ChunkSize,
            _ if line.is_empty() => State::Done,
            other => other,
        };
        self.line.clear();
        Ok(&input[end + 1..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &mut Answer, text: &[u8], step: usize) -> Result<(u16, Vec<u8>)> {
        let mut got = Vec::new();
        for piece in text.chunks(step) {
            answer.take(piece, |_, bytes| {
                got.extend_from_slice(bytes);
                Ok(())
            })?;
        }
        assert!(answer.is_done(), "{:?}", answer.state);
        Ok((answer.status, got))
    }

    #[test]
    fn answers_are_read_however_they_are_cut() {
        let cases: [(&str, u16, &str); 4] = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"),
            ("HTTP/1.1 204 No Content\r\ndate: x\r\n\r\n", 204, ""),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", 200, ""),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nd;x=1\r\n, chunked one\r\n0\r\na: b\r\n\r\n",
                200,
                "hello, chunked one",
            ),
        ];
        let mut answer = Answer::default();
        for (text, status, body) in cases {
            for step in [1, 2, 3, 7, 1000] {
                answer.reset();
                let (got, bytes) = read(&mut answer, text.as_bytes(), step).unwrap();
                assert_eq!((got, bytes.as_slice()), (status, body.as_bytes()), "{step}: {text}");
                assert_eq!(answer.closes, text.contains("close"));
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for bad in [
            "HTTP/1.0 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
        ] {
            assert!(Answer::default().take(bad.as_bytes(), |_, _| Ok(())).is_err(), "{bad}");
        }
        let long = vec![b'a'; S3_MAX_HEAD_BYTES + 1];
        assert!(Answer::default().take(&long, |_, _| Ok(())).is_err());
    }
}
