//! The file of a form, as the body that the rest of the gateway reads.

use super::form::FormReader;
use bytes::Bytes;
use http_body::{Body, Frame};
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Reads a request's body from where its file begins to where that ends.
pub struct FileBody<B> {
    reader: FormReader,
    body: B,
}

impl<B> FileBody<B> {
    pub fn new(reader: FormReader, body: B) -> Self {
        Self { reader, body }
    }
}

impl<B> Body for FileBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            match self.reader.file() {
                None => return Poll::Ready(None),
                Some(data) if !data.is_empty() => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(_) => {}
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                None => return Poll::Ready(Some(Err("the form ends inside its file".into()))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.reader.push(&data);
                    }
                }
            }
        }
    }
}
