//! The lab's own service under its own load, a connection per request: where there is no nginx, and where requests are
//! to come at a pace.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::{
    Plan,
    web::{self, Web},
};
use crate::{
    children::Running,
    programs::installed,
    report::{Order, Report},
    roles::{Role, load::Load, serve::Serve},
    stage::{Service, Stage},
};

const PORT: u16 = 8080;
/// Threads that accept, and clients of a load that never rests.
const THREADS: u16 = 4;
/// For all that enter TIME_WAIT within its minute: that none finds room is a fault, which small machines would have here.
const ROOM: &str = "net/ipv4/tcp_max_tw_buckets=1000000";

/// The lab's own service.
pub struct Own<'a> {
    stage: &'a Stage,
    service: Service,
}

impl<'a> Own<'a> {
    /// Starts it.
    pub fn start(stage: &'a Stage) -> Result<Self> {
        let sysctl = vec![ROOM.to_owned()];
        let service = stage.serve("service", Serve { threads: THREADS, sysctl, ..Serve::on(PORT) })?;
        Ok(Self { stage, service })
    }

    /// Begins a load of so many clients, which rest between two requests.
    pub fn begin(&self, clients: u32, rest: Duration, length: Duration) -> Result<Running> {
        let load = Load {
            netns_of: Some(self.service.pid),
            workers: clients,
            think_ms: u64::try_from(rest.as_millis())?,
            for_ms: u64::try_from(length.as_millis())?,
            ..Load::to(self.service.address())
        };
        self.stage.prepare("load", &Role::Load(load))
    }

    /// Requests that were answered in a turn of a load that never rests.
    fn turn(&self, length: Duration) -> Result<f64> {
        done(&self.begin(THREADS.into(), Duration::ZERO, length)?)
    }

    /// Ends a load before its time, and says how many requests were answered.
    pub fn stop(load: &mut Running) -> Result<f64> {
        load.order(Order::Stop)?;
        done(load)
    }
}

fn done(load: &Running) -> Result<f64> {
    loop {
        if let Report::Tally(tally) = load.report()? {
            return Ok(tally.done as f64);
        }
    }
}

/// A connection per request, as fast as they can be answered.
pub enum Busy<'a> {
    Web(Web<'a>),
    Own(Own<'a>),
}

impl<'a> Busy<'a> {
    /// nginx under wrk, where both are there.
    pub fn start(stage: &'a Stage) -> Result<Self> {
        if ["nginx", "wrk"].into_iter().all(|program| installed(program).is_some()) {
            Web::start(stage).map(Self::Web)
        } else {
            Own::start(stage).map(Self::Own)
        }
    }

    /// What it is.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Web(_) => "nginx under wrk",
            Self::Own(_) => "the lab's own service",
        }
    }

    /// Requests of one turn.
    pub fn requests(&self, plan: &Plan) -> Result<f64> {
        let requests = match self {
            Self::Web(web) => web.turn(web::Load::ConnectionPerRequest, plan)?.requests,
            Self::Own(own) => own.turn(plan.turn).context("the load was to say what it did")?,
        };
        if requests < 1.0 {
            bail!("{} answered nothing", self.name());
        }
        Ok(requests)
    }
}
