//! TCP states and other resources in use, now.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::titled;
use crate::{
    core::{frame::Resource, snapshot::Snapshot, verdict::Headroom},
    sinks::report::{numbers::percent, sentence},
    tui::{
        model::Model,
        text::{columns, left, printable, right},
    },
};

/// Columns of one entry, and the least that is left between two.
const NAME: usize = 23;
const USED: usize = 8;
const ENTRY: usize = 44;

pub(super) fn draw(frame: &mut Frame, area: Rect, model: &Model) {
    let title = if model.cursor_ns.is_some() {
        "In use, whole host (the latest, not then)"
    } else {
        "In use, whole host"
    };
    let inner = titled(frame, area, title, model.theme);
    let Some(snapshot) = &model.picture().snapshot else { return };
    let beside = (usize::from(inner.width) / ENTRY).max(1);
    let width = usize::from(inner.width) / beside;
    let rows = snapshot.in_use.len().div_ceil(beside).max(1);
    for (at, (resource, used)) in snapshot.in_use.iter().enumerate() {
        let (column, row) = (at / rows, at % rows);
        if row >= usize::from(inner.height) {
            continue;
        }
        let line = entry(model, snapshot, *resource, *used, width);
        let (x, y) = (inner.x + (column * width) as u16, inner.y + row as u16);
        frame.buffer_mut().set_line(x, y, &line, inner.right().saturating_sub(x));
    }
}

fn entry(model: &Model, snapshot: &Snapshot, resource: Resource, used: u64, width: usize) -> Line<'static> {
    let closest = snapshot
        .lines
        .iter()
        .filter_map(|line| line.closest.as_ref())
        .find(|usage| usage.resource == resource.name());
    let room = width.saturating_sub(NAME + USED + 2);
    let note = closest.map(|usage| of_limit(usage, used, room)).unwrap_or_default();
    let note = left(&note, room);
    Line::from(vec![
        Span::raw(left(words(resource), NAME)),
        Span::styled(right(&sentence::amount(resource.name(), used), USED), model.theme.chart()),
        Span::styled(format!(" {note}"), model.theme.dim()),
    ])
}

/// How close the one that is closest to its limit is, and which it is where there are several.
fn of_limit(usage: &Headroom, used: u64, room: usize) -> String {
    let of = sentence::limit(&usage.resource, usage.limit);
    let short = format!("{} of {of}", percent(usage.ratio).replace(' ', ""));
    let long = printable(&format!("{short} at {}", sentence::place(&usage.subject)));
    if usage.peak_used == used || columns(&long) > room { short } else { long }
}

/// What is counted, as people know it.
fn words(resource: Resource) -> &'static str {
    match resource {
        Resource::AcceptQueue => "in accept queues",
        Resource::SynQueue => "half open (SYN_RECV)",
        Resource::EphemeralPorts => "ephemeral ports",
        Resource::Descriptors => "descriptors (watched)",
        Resource::FileTable => "open files",
        Resource::TimeWait => "TIME_WAIT",
        Resource::Connections => "ESTABLISHED+CLOSE_WAIT",
        Resource::Orphans => "orphaned sockets",
        Resource::TcpMemory => "TCP memory (pages)",
        Resource::TimeWaitPorts => "ports in TIME_WAIT",
        Resource::Conntrack => "tracked connections",
        Resource::Memory => "memory of cgroups",
    }
}
