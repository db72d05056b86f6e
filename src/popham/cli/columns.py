"""The columns of each list, and how times and numbers are written in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from popham.cli.show import Column, Shown
from popham.model.communication import show_duration
from popham.model.managed import SOURCE

NOTHING = "-"
UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def ago(seconds: float | None) -> str:
    """Return ``12s ago``, ``3m ago``, ``5h ago``, ``2d ago``; ``never`` for None."""
    if seconds is None:
        return "never"
    return f"{span(max(0.0, seconds))} ago"


def span(seconds: float) -> str:
    """Return a duration in its largest unit, rounded down: ``90s`` is ``1m``."""
    for unit, length in UNITS:
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return "0s"


def moment(at: float | None) -> str:
    """Return a time in UTC, to the second; ``-`` for None and for 0."""
    if not at:
        return NOTHING
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{at:g}"


def percent(share: float) -> str:
    """Return ``1 %`` or ``0.5 %`` for a share from 0 to 1."""
    return f"{round(share * 100, 4):g} %"


def some(names: Sequence[str], shown: int) -> str:
    """Return the first names, and how many more there are; ``-`` for none."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{', '.join(names[:shown])}{more}" if names else NOTHING


def count(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 agent`` or ``2 agents``; ``plural`` where that is no ``s`` at the end."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def field(key: str) -> Callable[[Shown], str]:
    """Return a cell that shows ``key`` as it is, ``-`` where it is empty or 0."""
    return lambda item: str(item.get(key) or NOTHING)


def number(key: str) -> Callable[[Shown], str]:
    """Return a cell that shows a number, 0 included."""
    return lambda item: str(item.get(key, 0))


def pairs(found: Mapping[str, object]) -> str:
    """Return ``files=motd,otelcol=base``; ``-`` for nothing."""
    return ",".join(f"{key}={found[key]}" for key in sorted(found)) or NOTHING


def mode(item: Shown) -> str:
    """Return the mode in use, and the code of why it is not the one that was ordered."""
    used = str(item.get("mode") or NOTHING)
    return f"{used} ({item['fallback']})" if item.get("fallback") else used


def state_of(rollout: Shown) -> str:
    """Return a rollout's state, and since when and by whom it is in it: ``paused since … by ada``."""
    state = str(rollout["state"])
    if not rollout.get("since"):
        return state
    over = state in {"promoted", "undone"}
    return f"{state} {'' if over else 'since '}{moment(rollout['since'])} by {rollout['by']}"


def visited(key: str) -> Callable[[Shown], str]:
    """Return a cell that shows ``key`` of how the Manager visits an agent, ``-`` where it does not."""
    return lambda item: str((item.get("visit") or {}).get(key) or NOTHING)


def wave_of(rollout: Shown) -> str:
    """Return ``2 of 4``."""
    return f"{rollout['wave']} of {len(rollout['waves'])}"


def share_of(rollout: Shown) -> str:
    """Return the share of the wave that holds, or held when the rollout halted: ``5 %``."""
    return percent(rollout["waves"][rollout["wave"] - 1]["share"])


AGENTS: Sequence[Column] = (
    Column("NAME", field("name")),
    Column("GROUP", field("group")),
    Column("KIND", field("kind")),
    Column("ADMISSION", field("admission")),
    Column("PRESENCE", field("presence")),
    Column("LINK", lambda item: "connected" if item.get("connected") else NOTHING),
    Column("SYNC", field("sync")),
    Column("WANTED", field("wanted")),
    Column("APPLIED", field("applied")),
    Column("MODE", mode),
    Column("LAST CONTACT", lambda item: ago(item.get("age"))),
    Column("LOCATION", field("location"), wide=True),
    Column("UID", field("uid"), wide=True),
    Column("DIALER", field("dialer"), wide=True),
    Column(
        "HEARTBEAT",
        lambda item: show_duration(item["heartbeat"]) if item.get("heartbeat") else NOTHING,
        wide=True,
    ),
    Column("ADDRESS", field("address"), wide=True),
    Column("SINCE", lambda item: moment(item.get("since")), wide=True),
    Column("REASON", field("reason"), wide=True),
    Column("LABELS", lambda item: pairs(item.get("labels") or {}), wide=True),
    Column("VERSION", field("version"), wide=True),
    Column("VIA", lambda item: ",".join(item.get("via") or ()) or NOTHING, wide=True),
    Column("BEHIND", field("behind"), wide=True),
    Column("VISITED AT", visited("url"), wide=True),
    Column("LAST VISIT", lambda item: moment((item.get("visit") or {}).get("last")), wide=True),
    Column("NEXT VISIT", lambda item: moment((item.get("visit") or {}).get("next")), wide=True),
    Column("VISIT FAILS", visited("code"), wide=True),
)

GROUPS: Sequence[Column] = (
    Column("NAME", field("name")),
    Column("PARENT", field("parent")),
    Column("INHERITS", lambda item: "yes" if item.get("inherits") else "no"),
    Column("PRESET", field("preset")),
    Column("SERIAL", field("serial")),
    Column("AGENTS", number("agents")),
    Column("PATH", field("path"), wide=True),
    Column("OWN POLICIES", lambda item: pairs(item.get("policies") or {}), wide=True),
    Column("LABELS", lambda item: pairs(item.get("labels") or {}), wide=True),
)

POLICIES: Sequence[Column] = (
    Column("NAME", field("name")),
    Column("TYPE", field("type")),
    Column("REVISION", field("revision")),
    Column("GROUPS", lambda item: ",".join(item.get("groups") or ()) or NOTHING),
    Column("CHANGED", lambda item: moment(item.get("changed"))),
    Column("AUTHOR", field("author")),
    Column("PRIVATE TO", field("private_to"), wide=True),
    Column("DIGEST", field("sha256"), wide=True),
    Column("LABELS", lambda item: pairs(item.get("labels") or {}), wide=True),
)

PLACEMENTS: Sequence[Column] = (
    Column("ORDER", number("order")),
    Column("NAME", field("name")),
    Column("TOKEN", field("token")),
    Column("LABELS ARE", field("selector")),
    Column("FROM", lambda item: ",".join(item.get("address") or ()) or NOTHING),
    Column("NAMES", lambda item: some(item.get("names") or (), 3)),
    Column("GROUP", field("group")),
    Column("LABELLED", lambda item: pairs(item.get("labels") or {})),
)

AGENT_DEFINITIONS: Sequence[Column] = (
    Column("NAME", field("name")),
    Column("URL", field("url")),
    Column("TLS", field("tls")),
    Column("HTTP PROXY", field("http_proxy")),
    Column("AGENT", field("agent")),
    Column("STATE", field("state")),
    Column("LAST VISIT", lambda item: moment((item.get("visit") or {}).get("last"))),
    Column("NEXT VISIT", lambda item: moment((item.get("visit") or {}).get("next")), wide=True),
    Column("VISIT FAILS", visited("code"), wide=True),
    Column("UID", field("uid"), wide=True),
    Column("BY PROXY", field("proxy"), wide=True),
    Column("SECRETS", lambda item: ",".join(item.get("secrets") or ()) or NOTHING, wide=True),
    Column("MANAGED BY", lambda item: str((item.get("annotations") or {}).get(SOURCE) or NOTHING), wide=True),
)

ROLLOUTS: Sequence[Column] = (
    Column("ROLLOUT", field("id")),
    Column("STATE", field("state")),
    Column("WAVE", wave_of),
    Column("SHARE", share_of),
    Column("COHORT", number("cohort")),
    Column("APPLIED", number("applied")),
    Column("FAILED", number("failed")),
    Column("SILENT", number("silent")),
    Column("AGENTS", number("agents")),
    Column("BEGUN", lambda item: moment(item.get("at"))),
    Column("AUTHOR", field("author")),
    Column("CHANGES", lambda item: some(item.get("changes") or (), 2)),
    Column("SINCE", lambda item: moment(item.get("since")), wide=True),
    Column("BY", field("by"), wide=True),
    Column("PENDING", number("pending"), wide=True),
    Column("AWAY", number("away"), wide=True),
    Column("GROUPS", lambda item: some(item.get("groups") or (), 4), wide=True),
    Column("MESSAGE", field("message"), wide=True),
    Column("REASON", field("reason"), wide=True),
    Column("NEXT", field("next"), wide=True),
)

DRAFTS: Sequence[Column] = (
    Column("NAME", field("name")),
    Column("DOCUMENTS", lambda item: str(len(item["documents"]))),
    Column("AUTHORS", lambda item: ",".join(sorted({one["author"] for one in item["documents"]}))),
    Column("CHANGED", lambda item: moment(item["at"])),
    Column("EDITION", number("edition")),
    Column("MOVED", lambda item: str(sum(1 for one in item["documents"] if one["moved"]))),
    Column("MESSAGE", field("message")),
    Column("ABOUT", lambda item: ",".join(one["document"] for one in item["documents"]), wide=True),
)

TOKENS: Sequence[Column] = (
    Column("ID", field("id")),
    Column("KIND", field("kind")),
    Column("GROUP", field("group")),
    Column("PROXY", field("proxy"), wide=True),
    Column("STATE", field("state")),
    Column("USES", number("uses")),
    Column("LEFT", lambda item: "any" if item.get("uses_left", 0) < 0 else str(item.get("uses_left", 0))),
    Column("EXPIRES", lambda item: moment(item.get("expires"))),
    Column("ACCEPTS", lambda item: "yes" if item.get("accepts") else "no"),
    Column("FROM", field("cidr"), wide=True),
    Column("AUTHOR", field("author"), wide=True),
    Column("CREATED", lambda item: moment(item.get("created")), wide=True),
)

CHECK_INS: Sequence[Column] = (
    Column("NAME", field("name")),
    Column("STATE", field("state")),
    Column("EXPECTED", lambda item: moment(item.get("when"))),
    Column("UID", field("uid"), wide=True),
)

AUDIT: Sequence[Column] = (
    Column("SEQ", field("seq")),
    Column("AT", lambda item: moment(item.get("at"))),
    Column("WHO", field("actor")),
    Column("FROM", field("source")),
    Column("METHOD", field("method")),
    Column("OBJECT", field("object")),
    Column("BEFORE", field("before"), wide=True),
    Column("AFTER", field("after"), wide=True),
    Column("CHAIN", field("hash"), wide=True),
)
