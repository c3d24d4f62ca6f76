//! Which requests may change something: those of this host's own programs, and those of people who say who they are.
//!
//! A browser sends requests for whatever page it shows, also to loopback. So a request that a foreign page made is
//! refused by what the browser says of it (`Origin`, `Sec-Fetch-Site`). A page may also give its own name this host's
//! address (DNS rebinding), and be at home then: its name is in `Host`, and no name but loopback's is taken from who is
//! not authenticated. And who comes from another host needs authentication to be configured and passed.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::{FORWARDED, HOST, HeaderName, ORIGIN, VIA};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Uri};

use super::Caller;
use super::caller::is_loopback;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Why a request may not change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Foreign {
    #[error(
        "this was sent by a web page of another origin, and those may not change anything here: call it from the page \
         that this server serves, or by a program such as curl"
    )]
    Page,
    #[error(
        "this was sent to a name that is not known to be this host's: call it at 127.0.0.1, [::1], localhost or the \
         address it listens on, or configure basic_auth_users in --web.config.file"
    )]
    Name,
    #[error(
        "from another host (or through a proxy) only who is authenticated may change anything: call it on the host \
         itself at 127.0.0.1, or configure basic_auth_users in --web.config.file"
    )]
    Unauthenticated,
}

/// Lets a request through that may change something, or changes nothing by its method.
pub(super) fn check(method: &Method, uri: &Uri, headers: &HeaderMap, caller: &Caller) -> Result<(), Foreign> {
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(method) {
        return Ok(());
    }
    let host = host(uri, headers);
    if is_from_foreign_page(headers, host.as_ref()) {
        return Err(Foreign::Page);
    }
    if caller.is_authenticated() {
        return Ok(());
    }
    // A proxy on this host speaks for whoever it is.
    let is_forwarded = [FORWARDED, X_FORWARDED_FOR, VIA].iter().any(|name| headers.contains_key(name));
    if !caller.is_loopback() || is_forwarded {
        return Err(Foreign::Unauthenticated);
    }
    match host {
        Some(host) if is_own(&host, caller.local) => Ok(()),
        _ => Err(Foreign::Name),
    }
}

/// Whom the request was sent to; `None` where it is not said once and clearly.
fn host(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let mut values = headers.get_all(HOST).iter();
    match (values.next(), values.next()) {
        (None, _) => uri.authority().cloned(),
        (Some(host), None) => {
            let host: Authority = host.to_str().ok()?.parse().ok()?;
            uri.authority().is_none_or(|authority| *authority == host).then_some(host)
        }
        (Some(_), Some(_)) => None,
    }
}

/// Browsers send `Sec-Fetch-Site` to trustworthy addresses, and `Origin` with all that is not GET or HEAD.
fn is_from_foreign_page(headers: &HeaderMap, host: Option<&Authority>) -> bool {
    let site_is_foreign = headers.get_all(SEC_FETCH_SITE).iter().any(|site| site != "same-origin");
    // Without the scheme: a proxy in front may have ended TLS.
    let is_ours = |origin: &str| {
        let authority = origin.split_once("://").and_then(|(_, rest)| rest.parse::<Authority>().ok());
        authority.is_some() && authority.as_ref() == host
    };
    let mut origins = headers.get_all(ORIGIN).iter();
    site_is_foreign || origins.any(|origin| !origin.to_str().is_ok_and(is_ours))
}

fn is_own(host: &Authority, local: SocketAddr) -> bool {
    let name = host.host();
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    let address: Option<IpAddr> = bare.parse().ok();
    address.is_some_and(|address| is_loopback(address) || address.to_canonical() == local.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn caller(peer: &str, user: Option<&str>) -> Caller {
        Caller {
            peer: format!("{peer}:50000").parse().unwrap(),
            local: "192.0.2.1:9435".parse().unwrap(),
            user: user.map(Arc::from),
            certificate: false,
            tls: false,
        }
    }

    fn post(headers: &[(&'static str, &str)], caller: &Caller) -> Result<(), Foreign> {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .fold(HeaderMap::new(), |mut all, (name, value)| {
                all.append(name, value);
                all
            });
        check(&Method::POST, &Uri::from_static("/api/v1/phase"), &headers, caller)
    }

    #[test]
    fn this_hosts_own_programs_may_at_its_own_names() {
        let local = caller("127.0.0.1", None);
        for host in
            ["localhost:9435", "LOCALHOST", "127.0.0.1:9435", "127.9.9.9", "[::1]:9435", "192.0.2.1:9435"]
        {
            assert_eq!(post(&[("host", host)], &local), Ok(()), "{host}");
        }
        for host in
            ["rebound.example:9435", "127.0.0.1.example", "localhost.example", "192.0.2.2", "2130706433"]
        {
            assert_eq!(post(&[("host", host)], &local), Err(Foreign::Name), "{host}");
        }
        assert_eq!(post(&[], &local), Err(Foreign::Name));
        assert_eq!(post(&[("host", "localhost"), ("host", "evil.example")], &local), Err(Foreign::Name));
    }

    #[test]
    fn a_foreign_page_may_not_even_with_a_password() {
        for caller in [caller("127.0.0.1", None), caller("203.0.113.5", Some("alice"))] {
            let host = ("host", "localhost:9435");
            for foreign in [
                ("origin", "https://evil.example"),
                ("origin", "http://localhost:8080"),
                ("origin", "http://localhost"),
                ("origin", "null"),
                ("origin", ""),
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-site", "same-site"),
                ("sec-fetch-site", "none"),
            ] {
                assert_eq!(post(&[host, foreign], &caller), Err(Foreign::Page), "{foreign:?}");
            }
            let own = [host, ("origin", "http://localhost:9435"), ("sec-fetch-site", "same-origin")];
            assert_eq!(post(&own, &caller), Ok(()));
        }
    }

    #[test]
    fn from_elsewhere_only_who_is_authenticated() {
        let host = ("host", "observer.example:9435");
        assert_eq!(post(&[host], &caller("203.0.113.5", None)), Err(Foreign::Unauthenticated));
        assert_eq!(post(&[host], &caller("203.0.113.5", Some("alice"))), Ok(()));
        let proxied = [("host", "localhost"), ("x-forwarded-for", "203.0.113.5")];
        assert_eq!(post(&proxied, &caller("127.0.0.1", None)), Err(Foreign::Unauthenticated));
        assert_eq!(post(&proxied, &caller("127.0.0.1", Some("alice"))), Ok(()));
    }

    #[test]
    fn reading_is_not_guarded() {
        let headers = HeaderMap::from_iter([(ORIGIN, "https://evil.example".parse().unwrap())]);
        let check =
            |method| check(&method, &Uri::from_static("/metrics"), &headers, &caller("203.0.113.5", None));
        assert_eq!(check(Method::GET), Ok(()));
        assert_eq!(check(Method::HEAD), Ok(()));
        for method in ["PUT", "DELETE", "PATCH", "post", "CONNECT"] {
            assert!(check(Method::from_bytes(method.as_bytes()).unwrap()).is_err(), "{method}");
        }
    }

    #[test]
    fn ipv4_in_the_form_of_ipv6_is_loopback_too() {
        let mut caller = caller("127.0.0.1", None);
        caller.peer = "[::ffff:127.0.0.1]:1".parse().unwrap();
        caller.local = "[::ffff:192.0.2.1]:9435".parse().unwrap();
        assert_eq!(post(&[("host", "192.0.2.1:9435")], &caller), Ok(()));
    }
}
