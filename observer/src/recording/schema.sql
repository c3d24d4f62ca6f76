-- The tables of a recording, schema version 5. docs/recording.md explains them.
-- Every instant (`*_ns`) is in nanoseconds of CLOCK_MONOTONIC, unless it is called `real_ns`.
-- `seq` is the frame in which a row was written, `n` its place within that frame.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE run (
    only             INTEGER PRIMARY KEY CHECK (only = 1),
    id               TEXT NOT NULL,
    observer_version TEXT NOT NULL,
    host             TEXT NOT NULL,
    kernel           TEXT NOT NULL,
    netns            INTEGER,        -- the network namespace that observer ran in
    command          TEXT NOT NULL,  -- JSON: ["wrk", "-c", "400", ...]
    targets          TEXT NOT NULL,  -- JSON: [{"port": 8080}, ...]
    ignored          TEXT NOT NULL,  -- JSON: ["packet_loss", ...]
    plan             TEXT NOT NULL,  -- JSON: [["ramp_up", 120000000000], ...]
    coverage         TEXT NOT NULL,  -- JSON: [{"signal": ..., "tier": ..., "source": ..., "why_degraded": ...}, ...]
    checksum         INTEGER NOT NULL
);

CREATE TABLE subject (
    id          INTEGER PRIMARY KEY,
    netns       INTEGER,
    listener    TEXT,
    destination TEXT,
    source      TEXT,
    cgroup      INTEGER,
    controller  TEXT,  -- cpu, memory: the hierarchy of that cgroup id
    pid         INTEGER
);

CREATE TABLE frame (
    seq      INTEGER PRIMARY KEY,
    mono_ns  INTEGER NOT NULL,
    real_ns  INTEGER NOT NULL,  -- CLOCK_REALTIME at the same instant
    checksum INTEGER NOT NULL   -- of this frame's content and the checksum before it
);

-- Ten times a second something is counted of the same signals at the same places: those are told once, and a sample
-- refers to them. Its id is seq * 2^20 + n. Instants are relative to the frame's own (`rel`), which keeps them short.
-- The views `signal` and `usage` put it all together again.

CREATE TABLE signal_series (
    id        INTEGER PRIMARY KEY,
    signal    TEXT    NOT NULL,
    tier      TEXT    NOT NULL,
    subject   INTEGER NOT NULL,
    reason    TEXT,
    generator INTEGER NOT NULL,
    first_ns  INTEGER
);

CREATE TABLE signal_sample (
    id           INTEGER PRIMARY KEY,
    series       INTEGER NOT NULL,
    count        INTEGER NOT NULL,
    last_rel_ns  INTEGER,
    peak         INTEGER,
    limit_value  INTEGER,
    read_rel_ns  INTEGER NOT NULL,
    since_rel_ns INTEGER NOT NULL
);

CREATE TABLE usage_series (
    id           INTEGER PRIMARY KEY,
    resource     TEXT    NOT NULL,
    subject      INTEGER NOT NULL,
    limit_value  INTEGER,
    limit_set_by TEXT
);

CREATE TABLE usage_sample (
    id           INTEGER PRIMARY KEY,
    series       INTEGER NOT NULL,
    used         INTEGER NOT NULL,
    read_rel_ns  INTEGER NOT NULL,
    since_rel_ns INTEGER NOT NULL
);

CREATE TABLE fact (
    seq       INTEGER NOT NULL,
    n         INTEGER NOT NULL,
    kind      TEXT    NOT NULL,  -- process, listener_owner, cgroup_path, process_cgroup, limit, kernel_log, oom_victim
    pid       INTEGER,
    parent    INTEGER,
    comm      TEXT,
    netns     INTEGER,
    cgroup    INTEGER,
    generator INTEGER,
    listener  TEXT,
    path      TEXT,
    name      TEXT,
    value     TEXT,
    place     TEXT,
    controller TEXT,
    at_ns     INTEGER,
    PRIMARY KEY (seq, n)
) WITHOUT ROWID;

CREATE TABLE mark (
    seq         INTEGER NOT NULL,
    n           INTEGER NOT NULL,
    kind        TEXT    NOT NULL,  -- command_started, command_ended, phase
    at_ns       INTEGER NOT NULL,
    pid         INTEGER,
    exit_status INTEGER,
    name        TEXT,
    source      TEXT,
    PRIMARY KEY (seq, n)
) WITHOUT ROWID;

CREATE TABLE source_status (
    seq         INTEGER NOT NULL,
    n           INTEGER NOT NULL,
    source      TEXT    NOT NULL,
    duration_ns INTEGER NOT NULL,
    error       TEXT,
    PRIMARY KEY (seq, n)
) WITHOUT ROWID;

CREATE TABLE loss (
    seq    INTEGER NOT NULL,
    n      INTEGER NOT NULL,
    reason TEXT    NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (seq, n)
) WITHOUT ROWID;

CREATE TABLE verdict (
    only             INTEGER PRIMARY KEY CHECK (only = 1),
    outcome          TEXT NOT NULL,
    first_fault_line TEXT,
    first_onset_s    REAL,
    json             TEXT NOT NULL,
    checksum         INTEGER NOT NULL
);

-- What the engine made of it at the time, for people: observer itself judges anew, and never reads it back.

CREATE TABLE event (
    seq         INTEGER NOT NULL,
    n           INTEGER NOT NULL,
    at_ns       INTEGER NOT NULL,
    kind        TEXT    NOT NULL,  -- started, ended, phase, onset, kernel_log, unreadable, loss
    fault_line  TEXT,              -- of an onset
    lo_ns       INTEGER,           -- it was not earlier
    hi_ns       INTEGER,           -- it was not later
    netns       INTEGER,
    listener    TEXT,
    destination TEXT,
    cgroup      TEXT,
    pid         INTEGER,
    comm        TEXT,
    name        TEXT,              -- of a phase, a source, a loss
    text        TEXT,              -- the line, or why
    count       INTEGER,
    PRIMARY KEY (seq, n)
) WITHOUT ROWID;

CREATE TABLE verdict_update (
    seq              INTEGER PRIMARY KEY,
    at_ns            INTEGER NOT NULL,
    outcome          TEXT NOT NULL,
    first_fault_line TEXT,
    first_onset_s    REAL,
    because          TEXT
);

CREATE TABLE phase (
    n                 INTEGER PRIMARY KEY,
    name              TEXT NOT NULL,
    source            TEXT NOT NULL,
    start_s           REAL NOT NULL,
    end_s             REAL NOT NULL,
    connections_per_s REAL,
    concurrency       REAL
);

-- Views for people. Seconds count from the start of the command, or of the recording without one.

CREATE VIEW signal AS
SELECT
    s.id >> 20 AS seq, s.id & 0xfffff AS n, c.signal, c.tier, c.subject, c.reason, c.generator, s.count, c.first_ns,
    f.mono_ns + s.last_rel_ns AS last_ns, s.peak, s.limit_value,
    f.mono_ns + s.read_rel_ns AS read_ns, f.mono_ns + s.since_rel_ns AS since_ns
FROM signal_sample s CROSS JOIN signal_series c ON c.id = s.series CROSS JOIN frame f ON f.seq = s.id >> 20;

CREATE VIEW usage AS
SELECT
    s.id >> 20 AS seq, s.id & 0xfffff AS n, c.resource, c.subject, s.used, c.limit_value, c.limit_set_by,
    f.mono_ns + s.read_rel_ns AS read_ns, f.mono_ns + s.since_rel_ns AS since_ns
FROM usage_sample s CROSS JOIN usage_series c ON c.id = s.series CROSS JOIN frame f ON f.seq = s.id >> 20;

CREATE VIEW origin AS
SELECT coalesce(
    (SELECT min(at_ns) FROM mark WHERE kind = 'command_started'),
    (SELECT min(mono_ns) FROM frame)
) AS mono_ns;

CREATE VIEW process AS
SELECT DISTINCT pid, last_value(comm) OVER everything AS comm, max(generator) OVER everything AS generator
FROM fact WHERE kind = 'process'
WINDOW everything AS (PARTITION BY pid ORDER BY seq, n ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING);

CREATE VIEW place AS
SELECT
    s.id AS subject,
    CASE
        WHEN s.listener IS NOT NULL THEN s.listener
        WHEN s.destination IS NOT NULL THEN coalesce(s.source || ' -> ', '') || s.destination
        WHEN s.pid IS NOT NULL THEN coalesce(p.comm || ' ', '') || '(pid ' || s.pid || ')'
        WHEN s.cgroup IS NOT NULL THEN 'cgroup ' || coalesce(
            (SELECT path FROM fact WHERE kind = 'cgroup_path' AND cgroup = s.cgroup AND controller IS s.controller LIMIT 1), s.cgroup)
        WHEN s.netns IS NOT NULL THEN 'netns ' || s.netns
        ELSE 'host'
    END AS place,
    s.netns
FROM subject s LEFT JOIN process p ON p.pid = s.pid;

CREATE VIEW signal_rate AS
SELECT
    round((d.read_ns - origin.mono_ns) / 1e9, 3) AS seconds,
    d.signal, d.reason, place.place, d.tier, d.generator, d.count, d.delta,
    CASE WHEN d.read_ns > d.since_ns THEN round(d.delta * 1e9 / (d.read_ns - d.since_ns), 1) END AS rate_per_s,
    d.peak, d.limit_value
FROM (
    SELECT *, count - lag(count) OVER (PARTITION BY signal, tier, subject, reason, generator ORDER BY seq, n) AS delta
    FROM signal
) d
JOIN place ON place.subject = d.subject, origin
ORDER BY d.seq, d.n;

CREATE VIEW usage_ratio AS
SELECT
    round((u.read_ns - origin.mono_ns) / 1e9, 3) AS seconds,
    u.resource, place.place, u.used, u.limit_value,
    CASE WHEN u.limit_value > 0 THEN round(u.used * 1.0 / u.limit_value, 4) END AS ratio,
    u.limit_set_by
FROM usage u JOIN place ON place.subject = u.subject, origin
ORDER BY u.seq, u.n;

CREATE VIEW timeline AS
SELECT round((m.at_ns - origin.mono_ns) / 1e9, 3) AS seconds, m.kind, m.name, m.source, m.pid, m.exit_status
FROM mark m, origin
ORDER BY m.at_ns;

CREATE VIEW limit_in_force AS
SELECT DISTINCT name, place, last_value(value) OVER everything AS value
FROM fact WHERE kind = 'limit'
WINDOW everything AS (
    PARTITION BY name, place ORDER BY seq, n ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING);

CREATE VIEW coverage AS
SELECT
    json_extract(value, '$.signal') AS signal,
    json_extract(value, '$.tier') AS tier,
    json_extract(value, '$.source') AS source,
    json_extract(value, '$.why_degraded') AS why_degraded
FROM run, json_each(run.coverage);

CREATE VIEW source_cost AS
SELECT
    source, round(avg(duration_ns) / 1e6, 3) AS usual_worst_ms, round(max(duration_ns) / 1e6, 3) AS worst_ms,
    count(error) AS failures, max(error) AS an_error
FROM source_status GROUP BY source ORDER BY source;

CREATE VIEW clock_offset AS
SELECT frame.seq, round((frame.mono_ns - origin.mono_ns) / 1e9, 3) AS seconds, frame.real_ns - frame.mono_ns AS offset_ns
FROM frame, origin
ORDER BY frame.seq;
