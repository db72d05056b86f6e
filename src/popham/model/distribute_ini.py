"""``Distribute.ini``: to which servers Systemwalker SQC distributes the policies of a group.

Each folder of ``Policy_ROOT/GROUP`` is a policy distribution group, and has a file such as::

    [POLICY_DEF]
    DISTHOST = web1,web2

Rules:

1. A group has the name of its folder, in the letters that names have here.
2. A machine belongs to one group here.  A host of two groups is put into none of them, and named.
3. What is wrong is a finding with file and line; all else counts.  What SQC says and nothing here says is told too.
4. Everything follows from the files alone, so that the same files make the same definitions.

Source: Systemwalker Service Quality Coordinator User's Guide, "Policy Distribution", of which this reads more than
it says: sections and keys in any case, ``;`` and ``#`` before a comment, several lines of hosts, quotes around them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from popham.errors import DefinitionError
from popham.model.agent_definition import read_address
from popham.model.agentlist import FINDINGS_MAX, with_digest
from popham.model.names import NAME_MAX, ROOT_GROUP, make_legal, show

SECTION: Final = "policy_def"
KEY: Final = "disthost"
FILES_MAX: Final = 256
"""Files that are read together."""
SIZE_MAX: Final = 4 * 1024 * 1024
"""Characters of all of them."""
HOSTS_MAX: Final = 100_000
BESIDE_MAX: Final = 100
"""Other files of one folder that are named."""
_FORM: Final = "Write 'DISTHOST = web1,web2' below [POLICY_DEF]"
_POLICY: Final = "Write what it wants as a definition of kind Policy, and assign that to group {}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A policy distribution group as it was found.

    Attributes:
        name: Of the folder.
        source: Name of its ``Distribute.ini``, for messages.
        text: Of that file.
        beside: Names of the other files in the folder.
    """

    name: str
    source: str
    text: str
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A server to which policies are distributed.

    Attributes:
        address: Its host name in lower case, or its IP address.
        name: How an agent of that host name is called; empty for an IP address.
        source, line: Where it stands.
    """

    address: str
    name: str
    source: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A group: its name here, its folder, and the hosts that belong to it, in their order."""

    group: str
    folder: str
    source: str
    hosts: tuple[Host, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """What has no counterpart: where it stands, what it is, why, and what to do instead."""

    source: str
    line: int
    text: str
    why: str
    instead: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """What was read.

    Attributes:
        targets: The groups, in the order of their files.
        findings: What is wrong, with file and line; the first ones.
        wrong: How much is wrong.
        left: What has no counterpart; the first ones.
        left_count: How much has none.
    """

    targets: tuple[Target, ...] = ()
    findings: tuple[DefinitionError, ...] = ()
    wrong: int = 0
    left: tuple[Leftover, ...] = ()
    left_count: int = 0


def read_distribution(folders: Sequence[Folder]) -> Distribution:
    """Return the groups of ``folders`` with their hosts, what is wrong, and what has no counterpart.

    Raises:
        DefinitionError: ``definition.size``: they are too many, or too large.
    """
    size = sum(len(one.text) for one in folders)
    if len(folders) > FILES_MAX or size > SIZE_MAX:
        problem = f"there are more than {FILES_MAX} files, or more than {SIZE_MAX // 2**20} MiB in them"
        raise DefinitionError("size", problem, "Import them in parts")
    return _Reader(names_of([one.name for one in folders])).read(folders)


def names_of(folders: Iterable[str]) -> dict[str, str]:
    """Return folder → name of its group; each name follows from the folders' names, never from their order."""
    plain = {one: make_legal(one)[:NAME_MAX] for one in folders}
    held = Counter(plain.values())
    return {
        one: with_digest(name or "group", one) if held[name] > 1 or name in {"", ROOT_GROUP} else name
        for one, name in plain.items()
    }


@dataclass
class _Reader:
    """Reads files one by one, and then looks at all hosts together."""

    names: dict[str, str]
    findings: list[DefinitionError] = field(default_factory=list)
    wrong: int = 0
    left: list[Leftover] = field(default_factory=list)
    left_count: int = 0
    count: int = 0

    def read(self, folders: Sequence[Folder]) -> Distribution:
        sources: dict[str, Folder] = {}
        hosts: dict[str, dict[str, Host]] = {}
        for folder in folders:
            first = sources.setdefault(folder.name, folder)
            found = hosts.setdefault(first.name, {})
            for host in self._hosts(folder):
                found.setdefault(host.address, host)
            for name in folder.beside[:BESIDE_MAX]:
                why = "what SQC collects and watches is defined otherwise here"
                self._leave(folder, 0, name, why, _POLICY.format(self.names[folder.name]))
        shared = self._shared(hosts)
        targets = tuple(
            Target(
                group=self.names[name],
                folder=name,
                source=folder.source,
                hosts=tuple(host for host in hosts[name].values() if _key(host) not in shared),
            )
            for name, folder in sources.items()
        )
        return Distribution(
            targets=targets,
            findings=tuple(self.findings),
            wrong=self.wrong,
            left=tuple(self.left),
            left_count=self.left_count,
        )

    def _hosts(self, folder: Folder) -> Iterator[Host]:
        """Yield the hosts of one file."""
        section = SECTION
        for number, line in enumerate(re.split(r"\r\n|\r|\n", folder.text.removeprefix("\ufeff")), 1):
            content = line.strip()
            if not content or content[0] in ";#":
                continue
            if content.startswith("["):
                name, closed, _ = content[1:].partition("]")
                section = name.strip().lower()
                if not closed:
                    self._refuse(folder, number, "a section begins and has no ']'", "Write [POLICY_DEF]")
                continue
            key, sign, value = (part.strip() for part in content.partition("="))
            if not sign:
                self._refuse(folder, number, "this is no section, no 'KEY = value' and no comment", _FORM)
            elif section == SECTION and key.lower() == KEY:
                yield from self._listed(folder, number, value)
            else:
                where = key if section == SECTION else f"[{section}] {key}"
                known = "only DISTHOST of [POLICY_DEF] has a counterpart"
                self._leave(
                    folder, number, where, known, "Nothing, if SQC never read it; else see the manual"
                )

    def _listed(self, folder: Folder, number: int, value: str) -> Iterator[Host]:
        """Yield the hosts of one line."""
        for word in re.split(r"[;#]", value, maxsplit=1)[0].strip().strip('"').split(","):
            text = word.strip().strip('"')
            if not text:
                continue
            self.count += 1
            if self.count > HOSTS_MAX:
                if self.count == HOSTS_MAX + 1:
                    problem = f"there are more than {HOSTS_MAX} hosts; those from here on are left out"
                    self._refuse(folder, number, problem, "Import the files in parts")
                return
            try:
                address = read_address(text)
            except ValueError as error:
                problem, hint = error.args
                self._refuse(folder, number, problem, hint)
                continue
            name = "" if _is_ip(address) else make_legal(address)[:NAME_MAX]
            yield Host(address=address, name=name, source=folder.source, line=number)

    def _shared(self, hosts: dict[str, dict[str, Host]]) -> set[str]:
        """Return the keys of the hosts that stand in several groups, which are named."""
        first: dict[str, tuple[str, Host]] = {}
        shared: set[str] = set()
        for folder, held in hosts.items():
            for host in held.values():
                group, other = first.setdefault(_key(host), (folder, host))
                if group == folder:
                    continue
                shared.add(_key(host))
                problem = (
                    f"host {show(host.address)} is in group {self.names[folder]!r} and, by {other.source}:{other.line},"
                    f" in group {self.names[group]!r}; it was put into neither"
                )
                hint = "Keep it in one; what both are to have belongs to a group above both: --under"
                self._add(DefinitionError("distribute", problem, hint, source=host.source, line=host.line))
        return shared

    def _refuse(self, folder: Folder, line: int, problem: str, hint: str) -> None:
        self._add(DefinitionError("distribute", problem, hint, source=folder.source, line=line))

    def _add(self, finding: DefinitionError) -> None:
        self.wrong += 1
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(finding)

    def _leave(self, folder: Folder, line: int, text: str, why: str, instead: str) -> None:
        self.left_count += 1
        if len(self.left) < FINDINGS_MAX:
            self.left.append(
                Leftover(source=folder.source, line=line, text=text[:NAME_MAX], why=why, instead=instead)
            )


def _key(host: Host) -> str:
    """Return what two hosts have in common if they are one machine."""
    return host.name or host.address


def _is_ip(address: str) -> bool:
    """Return whether an address, as :func:`read_address` returns it, is an IP address."""
    return ":" in address or address.rpartition(".")[2].isdigit()
