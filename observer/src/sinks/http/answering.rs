//! A request while it is being answered: from its headers to the last byte of the answer handed over.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

use super::patience::Asked;
use super::places::{SharedPatience, lock};

/// Tells the connection's patience of a request, and when dropped, that it is answered.
pub(super) struct Answering {
    asked: Asked,
    patience: SharedPatience,
}

impl Answering {
    pub fn begin(patience: SharedPatience) -> Self {
        let asked = lock(&patience).asked(Instant::now());
        Self { asked, patience }
    }

    /// The answer's body, for as long as which the request is being answered.
    pub fn until_taken(self, body: Body) -> AnswerBody {
        AnswerBody { body, _answering: self }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        lock(&self.patience).answered(&self.asked, Instant::now());
    }
}

/// See [`Answering::until_taken`].
pub(super) struct AnswerBody {
    body: Body,
    _answering: Answering,
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
