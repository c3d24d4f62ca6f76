//! The files of docs/deploy/prometheus as they are; only the address of observer is put in, and a password.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::children::tie;

/// Its name and its text.
pub const RULES: (&str, &str) =
    ("observer.rules.yml", include_str!("../../../../docs/deploy/prometheus/observer.rules.yml"));
pub const RULE_TESTS: (&str, &str) =
    ("observer.test.yml", include_str!("../../../../docs/deploy/prometheus/observer.test.yml"));
pub const CONFIG: (&str, &str) =
    ("prometheus.yml", include_str!("../../../../docs/deploy/prometheus/prometheus.yml"));
const WEB: (&str, &str) = ("web.yml", include_str!("../../../../docs/deploy/prometheus/web.yml"));
const CERTIFICATES: (&str, &str) =
    ("certificates.sh", include_str!("../../../../docs/deploy/prometheus/certificates.sh"));

/// In the file that prometheus.yml names, and what crypt(3) makes of it, for the place in web.yml. It is made at less
/// than the usual cost: on a busy host, and unoptimised, checking it is not to take longer than a scrape may.
const PASSWORD: (&str, &str) = ("observer.password", "scrape me");
const HASH: (&str, &str) = ("HASH", "$2b$06$RmVycm9VbW9uaXRvckxhYeiW0K7HlATl3QJJqPK.yESBjFEKIw2hu");

/// Jobs of the lab's own, made of the one with everything.
///
/// In TLS 1.3 a client is done before the server has looked at its certificate. One that writes on at once may find
/// the connection closed before it has read why.
const LESSER: [Lesser; 2] = [
    Lesser {
        job: "without-certificate",
        lacks: &["cert_file", "key_file"],
        refusals: &["tls: certificate required", "write: broken pipe", "write: connection reset by peer"],
    },
    Lesser {
        job: "without-password",
        lacks: &["basic_auth", "username", "password_file"],
        refusals: &["server returned HTTP status 401 Unauthorized"],
    },
];

struct Lesser {
    job: &'static str,
    /// Keys of the one with everything.
    lacks: &'static [&'static str],
    /// One of these is what Prometheus then says.
    refusals: &'static [&'static str],
}

/// What Prometheus has to say of a job; nothing, if it is one that works.
pub fn refusals(job: &str) -> Option<&'static [&'static str]> {
    LESSER.iter().find(|lesser| lesser.job == job).map(|lesser| lesser.refusals)
}

/// How observer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Plain,
    Tls,
    MutualTls,
}

impl Way {
    pub fn scheme(self) -> &'static str {
        if self == Self::Plain { "http" } else { "https" }
    }

    /// The job of prometheus.yml for it.
    fn job(self) -> &'static str {
        match self {
            Self::Plain => "observer",
            Self::Tls => "observer-tls",
            Self::MutualTls => "observer-mutual-tls",
        }
    }

    /// All jobs that Prometheus is given.
    pub fn jobs(self) -> Vec<&'static str> {
        let lesser = LESSER.iter().filter(|_| self == Self::MutualTls).map(|lesser| lesser.job);
        [self.job()].into_iter().chain(lesser).collect()
    }

    /// prometheus.yml, with this job of it and what the lab makes of that, for an observer at this address.
    pub fn config(self, address: &str) -> Result<String> {
        let (head, jobs) = CONFIG.1.split_once("scrape_configs:\n").context("there are no jobs")?;
        let name = format!("job_name: {}\n", self.job());
        let mut jobs = jobs.split("\n\n").filter(|job| job.contains(&name));
        let job = jobs.next().with_context(|| format!("there is no {name}"))?;
        ensure!(jobs.next().is_none(), "there is more than one {name}");
        let job = at(job, address)?;
        let mut config = format!("{head}scrape_configs:\n{job}\n");
        for lesser in LESSER.iter().filter(|_| self == Self::MutualTls) {
            config.push_str(&lesser.made_of(&job, &name));
        }
        Ok(config)
    }

    /// Writes web.yml, as far as it is needed, and all that it and prometheus.yml name; returns where it is.
    pub fn prepare_web(self, folder: &Path) -> Result<Option<PathBuf>> {
        let text = match self {
            Self::Plain => return Ok(None),
            Self::Tls => WEB.1.split("\n\n").next().unwrap_or_default().to_owned() + "\n",
            Self::MutualTls => WEB.1.replace(HASH.0, HASH.1),
        };
        fs::write(folder.join(WEB.0), text)?;
        fs::write(folder.join(PASSWORD.0), PASSWORD.1)?;
        fs::write(folder.join(CERTIFICATES.0), CERTIFICATES.1)?;
        let mut script = Command::new("sh");
        script.args([CERTIFICATES.0, "DNS:localhost,IP:127.0.0.1"]).current_dir(folder);
        tie(&mut script)?;
        let made = script.output()?;
        ensure!(made.status.success(), "no certificates: {}", String::from_utf8_lossy(&made.stderr));
        Ok(Some(folder.join(WEB.0)))
    }
}

impl Lesser {
    fn made_of(&self, job: &str, name: &str) -> String {
        let has = |line: &&str| !self.lacks.iter().any(|key| line.trim().starts_with(&format!("{key}:")));
        let text: String = job.lines().filter(has).map(|line| format!("{line}\n")).collect();
        text.replace(name, &format!("job_name: {}\n", self.job))
    }
}

/// A job with another target.
fn at(job: &str, address: &str) -> Result<String> {
    let (before, target) = job.split_once("- targets: ").context("a job without targets")?;
    ensure!(!target.trim().contains('\n'), "a job goes on after its targets: {target}");
    Ok(format!("{before}- targets: ['{address}']"))
}

#[cfg(test)]
mod tests {
    use super::Way;

    const ADDRESS: &str = "127.0.0.1:1234";

    #[test]
    fn a_configuration_has_the_documented_job_and_those_made_of_it() {
        for way in [Way::Plain, Way::Tls, Way::MutualTls] {
            let config = way.config(ADDRESS).expect("a configuration");
            let jobs = config.lines().filter(|line| line.contains("job_name: ")).count();
            assert_eq!((jobs, config.matches(ADDRESS).count()), (way.jobs().len(), jobs), "{config}");
            assert!(!config.contains("9435"), "{config}");
        }
        let config = Way::MutualTls.config(ADDRESS).expect("a configuration");
        let without = |job: &str, key: &str| {
            let (_, rest) = config.split_once(job).expect("the job");
            !rest.split("job_name: ").next().expect("a job").contains(key)
        };
        assert!(without("without-certificate", "key_file") && !without("without-certificate", "basic_auth"));
        assert!(without("without-password", "password_file") && !without("without-password", "cert_file"));
    }
}
