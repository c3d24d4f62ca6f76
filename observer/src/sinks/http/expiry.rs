//! Until when the server's certificate is good, and when somebody should know.

use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::{DateTime, Decode as _};

use super::status::Notice;

/// So long before its end a certificate is warned of.
const AHEAD: Duration = Duration::from_secs(7 * 24 * 3600);

/// The instant from which clients refuse a chain of certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expiry(DateTime);

impl Expiry {
    /// The first end in a chain; of what cannot be read, clients have to judge themselves.
    pub fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let ends = chain.iter().filter_map(|der| {
            let certificate = Certificate::from_der(der).ok()?;
            Some(certificate.tbs_certificate().validity().not_after.to_date_time())
        });
        ends.min().map(Self)
    }

    /// What there is to say of it now, if anything.
    pub fn notice(self, now: SystemTime) -> Option<Notice> {
        let end = self.0.to_system_time();
        if now > end {
            Some(Notice::CertificateOver(self.0.to_string()))
        } else if now + AHEAD > end {
            Some(Notice::CertificateEnds(self.0.to_string()))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_a_week_ahead_and_when_it_has_come() {
        let text = "2027-01-15T12:00:00Z";
        let expiry = Expiry(text.parse().unwrap());
        let end = expiry.0.to_system_time();
        let second = Duration::from_secs(1);
        assert_eq!(expiry.notice(end - AHEAD - second), None);
        let soon = Some(Notice::CertificateEnds(text.to_owned()));
        assert_eq!([end - AHEAD + second, end].map(|now| expiry.notice(now)), [soon.clone(), soon]);
        assert_eq!(expiry.notice(end + second), Some(Notice::CertificateOver(text.to_owned())));
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        assert_eq!(Expiry::of(&[CertificateDer::from(vec![0x30, 0])]), None);
        assert_eq!(Expiry::of(&[]), None);
    }
}
