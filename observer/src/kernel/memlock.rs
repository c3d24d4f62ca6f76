//! Room for maps and programs. Kernels before 5.11 charge them to RLIMIT_MEMLOCK, which is small by default.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};

const RESOURCE: Resource = Resource::RLIMIT_MEMLOCK;

/// Observer's own limit, raised. The observed command must find the caller's, so dropping this puts both the
/// soft and the hard one back.
pub struct Raised {
    before: Option<(rlim_t, rlim_t)>,
}

impl Raised {
    /// Raises as far as is allowed: beyond the hard limit takes CAP_SYS_RESOURCE. What that cannot do, the
    /// maps will say.
    pub fn as_far_as_allowed() -> Self {
        let before = getrlimit(RESOURCE).ok();
        if let Some((_, hard)) = before
            && setrlimit(RESOURCE, RLIM_INFINITY, RLIM_INFINITY).is_err()
        {
            let _ = setrlimit(RESOURCE, hard, hard);
        }
        Self { before }
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        if let Some((soft, hard)) = self.before {
            // Lowering is always allowed.
            let _ = setrlimit(RESOURCE, soft, hard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_limits_come_back() {
        let before = getrlimit(RESOURCE).ok();
        let raised = Raised::as_far_as_allowed();
        let within = getrlimit(RESOURCE).ok();
        assert!(within >= before, "{within:?} of {before:?}");
        drop(raised);
        assert_eq!(getrlimit(RESOURCE).ok(), before);
    }
}
