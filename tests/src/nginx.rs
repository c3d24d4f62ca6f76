//! nginx with one worker, on [`PORT`] of the loopback of a network namespace of its own.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use anyhow::{Context, Result, bail};

use crate::{
    children::Running,
    programs::first_child,
    report::Report,
    roles::{Role, program::Program},
    stage::Stage,
};

/// Where it listens.
pub const PORT: u16 = 8080;

/// What tells how many requests it has answered (`ngx_http_stub_status_module`).
pub const STATUS: &str = "/status";

/// How much it may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Descriptors of the worker.
    pub descriptors: u32,
    /// Connections of the worker.
    pub connections: u32,
    /// Of the accept queue.
    pub backlog: u32,
}

/// A running nginx; dropping it ends it.
#[derive(Debug)]
pub struct Nginx {
    _running: Running,
    /// Process id of its worker.
    pub worker: u32,
    /// Inode number of its network namespace.
    pub netns: u32,
    /// Its log of errors.
    pub log: PathBuf,
}

impl Nginx {
    /// Starts the program at `path` and waits for its worker, which it forks when it listens.
    pub fn start(stage: &Stage, path: PathBuf, limits: Limits) -> Result<Self> {
        let folder = stage.folder();
        let (file, log) = (folder.join("nginx.conf"), folder.join("error.log"));
        fs::write(&file, config(limits))?;
        File::create(&log)?;
        let options = [("-p", folder), ("-e", &log), ("-c", &file)];
        let argument =
            options.iter().flat_map(|(option, path)| [(*option).to_owned(), path.display().to_string()]);
        let role = Role::Program(Program { netns_of: None, path, argument: argument.collect() });
        let running = stage.start("nginx", &role)?;
        let Report::Ready { pid, netns } = running.report().context("nginx did not start")? else {
            bail!("nginx did not begin with its process id");
        };
        Ok(Self { _running: running, worker: first_child(pid)?, netns, log })
    }
}

/// Everything that nginx writes lies below its prefix. Connections may stay: by default nginx closes one after a thousand
/// requests.
fn config(limits: Limits) -> String {
    let Limits { descriptors, connections, backlog } = limits;
    format!(
        r#"daemon off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
pid nginx.pid;
lock_file nginx.lock;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path client-body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{PORT} backlog={backlog};
        location / {{ return 200 "ok\n"; }}
        location = {STATUS} {{ stub_status; }}
    }}
}}
"#
    )
}
