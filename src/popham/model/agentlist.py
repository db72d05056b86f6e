"""``agentlist.cfg``: the list of agents to visit, as Systemwalker SQC writes it.

A line is ``host[/alias],port[,proxyhost,proxyport]``, under ``[AgentList]``; ``#`` begins a comment.

Rules:

1. An entry with an alias is a web server in front of the agent: TLS is its own on ports 443 and 8443, and off on
   others.  One without an alias is the agent's service itself.
2. A wrong line is a finding with its number; the other lines count.
3. The names of the definitions follow from the lines alone, so that the same list makes the same definitions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final, TypeVar

from popham.errors import DefinitionError
from popham.model.agent_definition import (
    AGENT_DEFINITIONS_MAX,
    AgentDefinition,
    Tls,
    read_address,
    read_http_proxy,
    read_port,
    read_prefix,
)
from popham.model.names import NAME_MAX, make_legal, show

SECTION: Final = "agentlist"
FILE_MAX: Final = 32 * 1024 * 1024
"""Bytes of one list."""
LINE_MAX: Final = 2048
"""Characters of one line."""
FINDINGS_MAX: Final = 100
"""Wrong lines that are named; the others are counted."""
WEB_PORTS: Final = frozenset({443, 8443})
_FORM: Final = "Write host[/alias],port[,proxyhost,proxyport]: web1.example/SQC,80"
_PORT = re.compile(r"[0-9]{1,5}")
_FIELDS: Final = (2, 4)
"""Fields of a line, without and with a web proxy."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line that counts: its number, and the definition it makes."""

    line: int
    definition: AgentDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentList:
    """A list that was read.

    Attributes:
        entries: In the order of the lines; no two are the same place or have the same name.
        findings: What is wrong, with file and line; the first ones.
        wrong: How many lines are wrong.
        unclear: How many of them could stand for any place; those that repeat one do not.
    """

    entries: tuple[Entry, ...] = ()
    findings: tuple[DefinitionError, ...] = ()
    wrong: int = 0
    unclear: int = 0


def decode(data: bytes) -> str:
    """Return the text of a list, whatever its comments are written in; all that counts is ASCII."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    for coding in ("utf-8-sig", "cp932"):
        with suppress(UnicodeDecodeError):
            return data.decode(coding)
    return data.decode("latin-1")


def read_agentlist(text: str, source: str) -> AgentList:
    """Return the entries of a list, and what is wrong with it.

    Args:
        text: Of the file.
        source: Its name, for messages.
    """
    places: dict[str, Entry] = {}
    findings: list[DefinitionError] = []
    repeated = wrong = 0
    for number, line in _lines(text):
        try:
            found = _read_line(line)
            first = places.get(found.where)
            if first is not None:
                repeated += 1
                _refuse(f"{found.where} stands twice, first on line {first.line}", "Keep one of them")
            if len(places) >= AGENT_DEFINITIONS_MAX:
                _refuse(f"there are more than {AGENT_DEFINITIONS_MAX} entries", "Use several Managers")
            places[found.where] = Entry(number, found)
        except ValueError as error:
            wrong += 1
            if len(findings) < FINDINGS_MAX:
                problem, hint = error.args
                findings.append(DefinitionError("agentlist", problem, hint, source=source, line=number))
    return AgentList(
        entries=tuple(_named(places.values())),
        findings=tuple(findings),
        wrong=wrong,
        unclear=wrong - repeated,
    )


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield number and content of the lines that are entries, whole or wrong."""
    inside = True
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff")), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        if content.startswith("[") and content.endswith("]") and not _is_address(content):
            inside = content[1:-1].strip().lower() == SECTION
        elif inside:
            yield number, content


def _is_address(text: str) -> bool:
    """Return whether ``[…]`` is an IPv6 address, with its port forgotten, and no section."""
    return text.count(":") > 1


def _read_line(line: str) -> AgentDefinition:
    """Return the definition of one line, still without a name; raises ValueError with problem and hint."""
    if len(line) > LINE_MAX:
        _refuse(f"the line is longer than {LINE_MAX} characters", _FORM)
    if "@" in line:
        # It may be a password, which is not repeated.
        _refuse(
            "users and passwords do not belong here", "Apply a definition of kind Agent, which may have them"
        )
    fields = [field.strip() for field in line.split(",")]
    if len(fields) not in _FIELDS:
        plural = "field" if len(fields) == 1 else "fields"
        _refuse(f"{show(line)} has {len(fields)} {plural}; an entry has 2, or 4 with a web proxy", _FORM)
    host, slash, alias = fields[0].partition("/")
    port = _of("port", _port, fields[1])
    prefix = _of("alias", read_prefix, alias)
    if slash and not prefix:
        _refuse(f"{show(fields[0])} has no alias behind its '/'", _FORM)
    tls = Tls.AGENT
    if prefix:
        tls = Tls.WEB if port in WEB_PORTS else Tls.OFF
    proxy = ""
    if len(fields) == max(_FIELDS):
        proxy_port = _of("proxy port", _port, fields[3])
        proxy = _of("proxy host", lambda value: read_http_proxy(value, proxy_port), fields[2])
    address = _of("host", read_address, host)
    return AgentDefinition(name="", address=address, port=port, prefix=prefix, tls=tls, http_proxy=proxy)


def _port(text: str) -> int:
    return read_port(int(text) if _PORT.fullmatch(text) else text)


def _of(field: str, read: Callable[[str], T], value: str) -> T:
    """Return what ``read`` makes of a field; its errors name the field."""
    try:
        return read(value)
    except ValueError as error:
        problem, hint = error.args
        raise ValueError(f"{field}: {problem}", hint) from None


def _refuse(problem: str, hint: str) -> None:
    raise ValueError(problem, hint)


def _named(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield the entries with names: the host, and port and alias where several entries have one host.

    Each name follows from its own line and from whether its host stands alone, never from the order.
    """
    held = [(_legal(one.definition.address), _legal(one.definition.where), one) for one in entries]
    hosts = Counter(host for host, _, _ in held)
    places = Counter(place for host, place, _ in held if hosts[host] > 1)
    for host, place, entry in held:
        name = host
        if hosts[host] > 1:
            taken = hosts[place] or places[place] > 1
            name = with_digest(place, entry.definition.where) if taken else place
        yield Entry(entry.line, replace(entry.definition, name=name))


def _legal(text: str) -> str:
    """Return a legal name for a host or a place; a long one is cut, and ends with a digest of all of it."""
    name = make_legal(text)
    return name if len(name) <= NAME_MAX and name else with_digest(name or "agent", text)


def with_digest(name: str, text: str) -> str:
    """Return a name that is another for each ``text``: ``name`` with a digest of it."""
    suffix = f"-{sha256(text.encode()).hexdigest()[:10]}"
    return name[: NAME_MAX - len(suffix)] + suffix
