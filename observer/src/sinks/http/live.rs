//! The web configuration in force: read again whenever it, or a certificate that it names, is another on disk.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::config::{ClientAuth, Config, ConfigError};
use super::places::lock;
use super::status::{ConfigState, Count, Notice, Notify, Status};
use super::tls::{self, Tls};

/// A file written within this time of being read may have been written again without its times telling.
const UNSETTLED: Duration = Duration::from_secs(1);

/// What is in force.
pub(super) struct Settings {
    pub config: Config,
    /// `None` where there is no TLS.
    pub tls: Option<Tls>,
}

impl Settings {
    /// Whether a certificate that a client showed says who it is.
    pub fn verifies_certificates(&self) -> bool {
        matches!(self.client_auth(), Some(ClientAuth::Verified { .. }))
    }

    /// Whether everyone is asked who they are.
    pub fn authenticates(&self) -> bool {
        let by_certificate = matches!(self.client_auth(), Some(ClientAuth::Verified { required: true, .. }));
        by_certificate || !self.config.users.is_empty()
    }

    fn client_auth(&self) -> Option<&ClientAuth> {
        self.config.tls.as_ref().map(|tls| &tls.client_auth)
    }
}

/// The settings, kept as they are on disk.
pub(super) struct Live {
    path: Option<PathBuf>,
    state: Mutex<State>,
    status: Arc<Status>,
}

struct State {
    settings: Arc<Settings>,
    seen: Vec<(PathBuf, Stamp)>,
    /// The latest that was told of the certificate in force.
    told: Option<Notice>,
}

/// What tells one version of a file from another without reading it; `None` where there is no file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    file: Option<(u64, u64, u64, i64, i64, i64, i64)>,
    settled: bool,
}

impl Stamp {
    fn of(path: &Path, now: SystemTime) -> Self {
        let meta = std::fs::metadata(path).ok();
        let settled = meta.as_ref().is_none_or(|meta| is_settled(meta, now));
        let file = meta.map(|meta| {
            let times = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
            (meta.dev(), meta.ino(), meta.size(), times.0, times.1, times.2, times.3)
        });
        Self { file, settled }
    }
}

/// A time in the future (a clock set back) never settles: such a file is read each time.
fn is_settled(meta: &Metadata, now: SystemTime) -> bool {
    let changed =
        Duration::new(meta.ctime().try_into().unwrap_or(0), meta.ctime_nsec().try_into().unwrap_or(0));
    now.duration_since(SystemTime::UNIX_EPOCH + changed).is_ok_and(|age| age > UNSETTLED)
}

impl Live {
    /// Reads the configuration and all that it names.
    ///
    /// # Errors
    /// What cannot be read or honoured.
    pub fn open(path: Option<&Path>, status: Arc<Status>) -> Result<Self, ConfigError> {
        let (settings, seen) = match path {
            None => (Settings { config: Config::default(), tls: None }, Vec::new()),
            Some(path) => {
                let (result, seen) = load(path);
                status.set_config(ConfigState::Current);
                (result?, seen)
            }
        };
        let state = Mutex::new(State { settings: Arc::new(settings), seen, told: None });
        Ok(Self { path: path.map(Path::to_owned), state, status })
    }

    /// What is in force now. What changed on disk is read first; if it cannot be used, the former stays.
    pub fn current(&self, notify: &Notify) -> Arc<Settings> {
        let (settings, read, expiring) = {
            let mut state = lock(&self.state);
            let now = SystemTime::now();
            let outdated = self.path.as_ref().filter(|_| state.is_outdated(now));
            let read = outdated.map(|path| state.reload(path));
            (Arc::clone(&state.settings), read, state.expiring(now))
        };
        if let Some(read) = read {
            self.tell(read, notify);
        }
        expiring.into_iter().for_each(|notice| notify(notice));
        settings
    }

    fn tell(&self, read: Result<(), ConfigError>, notify: &Notify) {
        let state =
            read.map_or_else(|error| ConfigState::Stale(error.to_string()), |()| ConfigState::Current);
        if !self.status.set_config(state.clone()) {
            return;
        }
        if matches!(state, ConfigState::Stale(_)) {
            self.status.add(Count::ReloadFailed);
        }
        notify(Notice::Config(state));
    }

    /// What was last found in force, without looking at the disk.
    pub fn known(&self) -> Arc<Settings> {
        Arc::clone(&lock(&self.state).settings)
    }
}

impl State {
    fn is_outdated(&self, now: SystemTime) -> bool {
        self.seen.iter().any(|(path, seen)| !seen.settled || Stamp::of(path, now).file != seen.file)
    }

    fn reload(&mut self, path: &Path) -> Result<(), ConfigError> {
        let (result, mut seen) = load(path);
        let result = result.and_then(|settings| self.replace(path, settings));
        if result.is_err() {
            // What was wrong (no descriptor left, no permission) may be over without a change of the files.
            seen.iter_mut().for_each(|(_, stamp)| stamp.settled = false);
        }
        self.seen = seen;
        result
    }

    /// What is news of the certificate's end.
    fn expiring(&mut self, now: SystemTime) -> Option<Notice> {
        let notice = self.settings.tls.as_ref().and_then(|tls| tls.expiry?.notice(now));
        let is_news = notice != self.told;
        self.told.clone_from(&notice);
        notice.filter(|_| is_news)
    }

    fn replace(&mut self, path: &Path, settings: Settings) -> Result<(), ConfigError> {
        if settings.tls.is_some() != self.settings.tls.is_some() {
            let what = "TLS cannot be switched on or off while the server runs: start it anew for that";
            return Err(ConfigError::of_file(path, what));
        }
        self.settings = Arc::new(settings);
        Ok(())
    }
}

/// Reads all; and says of which files, as they were before they were read.
fn load(path: &Path) -> (Result<Settings, ConfigError>, Vec<(PathBuf, Stamp)>) {
    let now = SystemTime::now();
    let mut seen = vec![(path.to_owned(), Stamp::of(path, now))];
    let config = match Config::read(path) {
        Ok(config) => config,
        Err(error) => return (Err(error), seen),
    };
    seen.extend(config.tls.iter().flat_map(tls::files).map(|file| (file.clone(), Stamp::of(file, now))));
    let tls = config.tls.as_ref().map(|tls| tls::build(path, tls, config.http2)).transpose();
    (tls.map(|tls| Settings { config, tls }), seen)
}

#[cfg(test)]
mod tests;
