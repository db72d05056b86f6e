"""Policies of type ``collect`` for properties: mostly almost right."""

from hypothesis import strategies as st

COLLECT_FURTHER = (
    "is less than",
    "is more than",
    "and may have",
    "stands twice",
    "asks ",
    "no such port",
    "has none",
    "neither an address",
    "shortest form",
    "multiline",
    "has more than",
)
"""What a refusal says where a schema cannot say why."""

NAMES = st.sampled_from(["shop", "a.b", "Shop", "", "x" * 65, None])
DURATIONS = st.sampled_from(
    ["1s", "30s", "1.5m", "24h", "0s", "2d", "5", "-1s", "1s ", 1, 60.0, 0, 1e9, True, None]
)
SIZES = st.sampled_from(["1MiB", "64KiB", "2GiB", "0B", "1MB", "1.5MiB", 2**20, 2**20 + 0.0, 5, True, None])
HOSTS = ["localhost", "10.0.0.1", "[::1]", "a b", "", "-x", "x/y"]
GLOBS = st.sampled_from(
    ["/var/log/*.log", "/var/**/x", "/a/../b", "/a/", "a", "/", "/x**/y", "/var/log/a\n", "/var/log/[ab]?", 5]
)
STARTS = st.sampled_from([r"\d{4}-", "[A-Z]", "(a*)*", ".*.*.*", "(", r"(x)\1", "(?=x)", "x" * 257, 5])
HTTP = [
    f"{scheme}://{host}{rest}"
    for scheme in ("http", "ftp")
    for host in HOSTS
    for rest in ("", ":80/x", ":0", "?q")
]
TCP = [f"{host}{port}" for host in HOSTS for port in (":22", ":0", ":65536", "", ":x")]
FLAGS = st.sampled_from([True, False, 1, None])


some = st.fixed_dictionaries
CHOICES = FLAGS | some(
    {},
    optional={
        key: st.lists(st.sampled_from(["eth*", "", "\n"]), max_size=2) for key in ("include", "exclude", "x")
    },
)
LOGS = some(
    {"name": NAMES, "paths": st.lists(GLOBS, max_size=2)},
    optional={
        "exclude": st.lists(GLOBS, max_size=2),
        "encoding": st.sampled_from(["utf-8", "shift_jis", "utf-7", None]),
        "multiline": some({}, optional={"start": STARTS}),
        "from": st.sampled_from(["end", "beginning", "middle"]),
        "attributes": st.dictionaries(
            st.sampled_from(["service.name", "", "interval"]), st.sampled_from(["x", 5])
        ),
    },
)
EXPECT = some(
    {},
    optional={
        "status": st.sampled_from([200, 99, 200.0, "200"]),
        "contains": st.sampled_from(["ok", 5]),
        "address": st.sampled_from(["10.0.0.0/8", "::1", "x", ""]),
    },
)
PROBES = some(
    {"name": NAMES},
    optional={
        "http": st.sampled_from(HTTP),
        "tcp": st.sampled_from(TCP),
        "dns": st.sampled_from(HOSTS),
        "ping": st.sampled_from([*HOSTS, "::1"]),
        "interval": DURATIONS,
        "timeout": DURATIONS,
        "expect": EXPECT,
    },
)
COMMANDS = some(
    {"name": NAMES, "command": NAMES},
    optional={"interval": DURATIONS, "into": st.sampled_from(["logs", "metrics", "events"])},
)
PROCESSES = some({"name": NAMES, "match": st.sampled_from(["java*", ""])})
METRICS = some(
    {},
    optional={
        "cpu": FLAGS,
        "filesystem": CHOICES,
        "network": CHOICES,
        "processes": st.lists(PROCESSES, max_size=2),
    },
)
LIMITS = some({}, optional={"records": st.sampled_from([1000, 5, 1e3]), "bytes": SIZES, "age": DURATIONS})


def collect_specs(anything):
    """Return specs; ``anything`` is any JSON."""
    right = some(
        {},
        optional={
            "interval": DURATIONS,
            "summary": FLAGS | some({}, optional={"interval": DURATIONS}),
            "metrics": METRICS,
            "logs": st.lists(LOGS, max_size=2),
            "probes": st.lists(PROBES, max_size=2),
            "commands": st.lists(COMMANDS, max_size=2),
            "limits": LIMITS,
            "bandwidth": SIZES,
            "upload": some({}, optional={"logs": st.sampled_from(["on", "off", True])}),
        },
    )
    return right | some({}, optional={"metrics": anything, "logs": anything, "x": anything})
