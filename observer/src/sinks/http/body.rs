//! The body of a request: in full, soon, and not long; or not at all.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body_util::BodyExt as _;

/// The longest body that is taken.
pub(super) const LONGEST: usize = 64 * 1024;

/// A longer one is read up to here, and thrown away: an answer that comes while the client still sends may be lost.
const DRAINED: u64 = 1024 * 1024;

/// For all of it.
pub(super) const TIME: Duration = Duration::from_secs(10);

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoBody {
    TooLong,
    TooSlow,
    Broken,
}

/// Reads a body.
pub(super) async fn read<B: HttpBody<Data = Bytes> + Unpin>(body: B) -> Result<Body, NoBody> {
    if body.is_end_stream() {
        return Ok(Body::empty());
    }
    if body.size_hint().lower() > DRAINED {
        return Err(NoBody::TooLong);
    }
    tokio::time::timeout(TIME, collect(body)).await.unwrap_or(Err(NoBody::TooSlow))
}

async fn collect<B: HttpBody<Data = Bytes> + Unpin>(mut body: B) -> Result<Body, NoBody> {
    let mut kept = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| NoBody::Broken)?;
        let Some(data) = frame.data_ref() else { continue };
        length += data.len() as u64;
        if length > DRAINED {
            return Err(NoBody::TooLong);
        }
        if length <= LONGEST as u64 {
            kept.extend_from_slice(data);
        }
    }
    if length > LONGEST as u64 { Err(NoBody::TooLong) } else { Ok(kept.into()) }
}
