//! Places by what they are still called in another run.

use std::net::SocketAddr;

use crate::core::{scope::container_id, verdict::HitSubject};

/// A place without the numbers that are new in each run: process ids, namespaces, containers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    listener: Option<SocketAddr>,
    destination: Option<SocketAddr>,
    comm: Option<String>,
    cgroup: Option<String>,
    device: Option<String>,
}

impl Place {
    /// An address says where; without one, the process, cgroup or device does.
    pub(super) fn of(subject: &HitSubject) -> Self {
        let HitSubject { listener, destination, comm, cgroup, device, .. } = subject;
        let has_address = listener.is_some() || destination.is_some();
        let unless_address = |text: &Option<String>| text.clone().filter(|_| !has_address);
        Self {
            listener: *listener,
            destination: *destination,
            comm: unless_address(comm),
            cgroup: unless_address(cgroup).map(|path| without_container(&path)),
            device: unless_address(device),
        }
    }
}

/// What a limit is a limit of: `netns`, `pid (nginx)`, `cgroup /system.slice/nginx.service`.
pub(super) fn of_limit(place: &str) -> String {
    let Some((kind @ ("netns" | "pid"), number)) = place.split_once(' ') else {
        return without_container(place);
    };
    match number.split_once(' ') {
        Some((_, name)) => format!("{kind} {name}"),
        None => kind.to_owned(),
    }
}

fn without_container(path: &str) -> String {
    container_id(path).map_or_else(|| path.to_owned(), |id| path.replace(id, "CONTAINER"))
}

#[cfg(test)]
mod tests {
    use super::{Place, of_limit};
    use crate::core::verdict::HitSubject;

    #[test]
    fn numbers_of_one_run_are_no_part_of_a_place() {
        let id = "0123456789abcdef".repeat(4);
        let other = "fedcba9876543210".repeat(4);
        let docker = |pid, id: &str| HitSubject {
            pid: Some(pid),
            netns: Some(pid),
            container: Some(id.to_owned()),
            cgroup: Some(format!("/system.slice/docker-{id}.scope")),
            comm: Some("api".into()),
            ..HitSubject::default()
        };
        assert_eq!(Place::of(&docker(1, &id)), Place::of(&docker(2, &other)));
        let port = |port| HitSubject { listener: Some(([0, 0, 0, 0], port).into()), ..docker(1, &id) };
        assert_ne!(Place::of(&port(80)), Place::of(&port(81)));
        assert_eq!(of_limit("netns 4026531840"), "netns");
        assert_eq!(of_limit("pid 17 (my api)"), "pid (my api)");
        assert_eq!(of_limit("host"), "host");
        assert_eq!(of_limit(&format!("cgroup /docker/{id}")), "cgroup /docker/CONTAINER");
    }
}
