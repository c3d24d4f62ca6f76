//! What a request goes through before a handler sees it, and what every answer gets.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use tower::ServiceExt as _;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use super::Caller;
use super::auth::{Checked, Credentials, Passwords};
use super::body::{self, NoBody};
use super::live::Settings;
use super::origin::{self, Foreign};
use super::places::{Peer, lock};
use super::rate::Bucket;
use super::status::{Count, Status};

const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"observer\", charset=\"UTF-8\"");

/// Why a request is not let through to a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    TooMany,
    WhoAreYou,
    PasswordsBusy,
    Foreign(Foreign),
    NoBody(NoBody),
}

/// Lets requests through to a router.
pub(super) struct Gate {
    router: Router,
    passwords: Passwords,
    bucket: Mutex<Bucket>,
    status: Arc<Status>,
}

impl Gate {
    /// # Errors
    /// The kernel gives no random numbers.
    pub fn new(router: Router, status: Arc<Status>) -> Result<Self, ring::error::Unspecified> {
        // Speed before size: the observed load needs the processor more than the scraper its network.
        let compression = CompressionLayer::new().gzip(true).quality(CompressionLevel::Fastest);
        let router = router.layer(compression);
        Ok(Self { router, passwords: Passwords::new()?, bucket: Mutex::default(), status })
    }

    /// The answer to a request of `caller`, whose user is not known yet.
    pub async fn answer<B>(&self, settings: &Settings, request: Request<B>, caller: Caller) -> Response
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        let mut response = match self.admit(settings, request, caller).await {
            Ok(request) => self.router.clone().oneshot(request).await.into_response(),
            Err(refusal) => {
                self.count(refusal);
                refusal.into_response()
            }
        };
        for (name, value) in &settings.config.headers {
            response.headers_mut().insert(name, value.clone());
        }
        response
    }

    async fn admit<B>(
        &self,
        settings: &Settings,
        request: Request<B>,
        mut caller: Caller,
    ) -> Result<Request<Body>, Refusal>
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        if let Some(limit) = settings.config.rate_limit
            && !lock(&self.bucket).take(limit, Instant::now())
        {
            return Err(Refusal::TooMany);
        }
        if !settings.config.users.is_empty() {
            let given = Credentials::of(request.headers()).ok_or(Refusal::WhoAreYou)?;
            let peer = Peer::of(caller.peer.ip());
            caller.user = match self.passwords.check(&settings.config.users, peer, given).await {
                Checked::Right(user) => Some(user),
                Checked::Wrong => return Err(Refusal::WhoAreYou),
                Checked::Busy => return Err(Refusal::PasswordsBusy),
            };
        }
        origin::check(request.method(), request.uri(), request.headers(), &caller)
            .map_err(Refusal::Foreign)?;
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(caller);
        let body = body::read(body).await.map_err(Refusal::NoBody)?;
        Ok(Request::from_parts(parts, body))
    }

    fn count(&self, refusal: Refusal) {
        match refusal {
            Refusal::TooMany => self.status.add(Count::RateLimited),
            Refusal::WhoAreYou => self.status.add(Count::Unauthenticated),
            Refusal::PasswordsBusy => self.status.add(Count::PasswordsBusy),
            Refusal::Foreign(_) => self.status.add(Count::ForeignOrigin),
            Refusal::NoBody(NoBody::TooSlow) => self.status.add(Count::TooSlow),
            Refusal::NoBody(_) => {}
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let retry: [(HeaderName, HeaderValue); 1] = [(RETRY_AFTER, HeaderValue::from_static("1"))];
        match self {
            Self::TooMany => {
                let words = "more requests come than rate_limit in the web configuration file allows\n";
                (StatusCode::TOO_MANY_REQUESTS, retry, words).into_response()
            }
            Self::WhoAreYou => {
                let words =
                    "this needs a user and password of basic_auth_users in the web configuration file\n";
                (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, CHALLENGE)], words).into_response()
            }
            Self::PasswordsBusy => {
                let words = "too many passwords from this address wait to be checked\n";
                (StatusCode::TOO_MANY_REQUESTS, retry, words).into_response()
            }
            Self::Foreign(why) => (StatusCode::FORBIDDEN, format!("{why}\n")).into_response(),
            Self::NoBody(NoBody::TooLong) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "a request's body may have 64 KiB\n").into_response()
            }
            Self::NoBody(NoBody::TooSlow) => {
                (StatusCode::REQUEST_TIMEOUT, "the request's body took longer than 10 seconds\n")
                    .into_response()
            }
            Self::NoBody(NoBody::Broken) => {
                (StatusCode::BAD_REQUEST, "the request's body broke off\n").into_response()
            }
        }
    }
}
