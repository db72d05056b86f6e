"""Definitions: objects as people write them in YAML, checked without a Manager.

:func:`check` reads files and refuses whatever no Manager would take, with the
line.  What depends on stored objects (unknown names, inheritance) is checked
when a Manager applies them; names that the set itself defines are checked here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from popham.errors import DefinitionError
from popham.model.agent_definition import read_agent_definition
from popham.model.communication import CommunicationSettings, settings_from_definition
from popham.model.documents import Document, SourceFile, read_documents
from popham.model.duration import parse_duration, show_duration
from popham.model.expectation import Expectation, read_tests
from popham.model.findings import DefinitionSetError, Findings
from popham.model.fleet import COMMUNICATION, LOCATIONS
from popham.model.keys import check_keys, read_flag
from popham.model.lines import LinedDict, line_of
from popham.model.location import CHECK_MAX, CHECK_MIN
from popham.model.location_definition import read_locations
from popham.model.names import ROOT_GROUP, check_name, nearest, show
from popham.model.placement import read_placement
from popham.model.policy import TYPES, check_policy
from popham.model.proxy_definition import read_proxy_definition
from popham.model.relations import check_places, check_relations
from popham.model.selector import LABEL_KEY
from popham.model.wanted import (
    Definitions,
    GroupDefinition,
    LocationDefinition,
    Place,
    PlacementDefinition,
    PolicyDefinition,
    WantedAgent,
    WantedProxy,
)

__all__ = [
    "API_VERSION",
    "DefinitionSetError",
    "Definitions",
    "GroupDefinition",
    "Place",
    "PolicyDefinition",
    "SourceFile",
    "check",
]

API_VERSION = "popham/v1"
_KINDS = ("Group", "Policy", "Placement", "Agent", "Proxy")
_KEYS = {
    "definition": ("apiVersion", "kind", "metadata", "spec"),
    "metadata": ("name", "labels", "annotations"),
    "group": (
        *("parent", "inherits", "inheritance", "communication", "policies"),
        *("locations", "location_check", "location_memory", "minimum_serial", "tests"),
    ),
}
SERIAL_MAX = 2**53 - 1
"""Largest number that every reader of JSON takes exactly."""
_TEXTS_MAX = 64
_TEXT_LENGTH = {"labels": 256, "annotations": 4096}
"""Characters of one value."""
_Named = GroupDefinition | PolicyDefinition | PlacementDefinition | WantedAgent | WantedProxy


def check(files: Sequence[SourceFile], *, force: bool = False) -> Definitions:
    """Return what ``files`` define.

    Args:
        files: Their names and texts.
        force: Take what is possible and unwise, such as a location that hangs on the Manager alone.

    Raises:
        DefinitionSetError: Something is wrong; it carries every error found.
    """
    findings = Findings()
    documents: list[Document] = []
    with findings.collect("", 0):
        documents = read_documents(files)
    found: dict[str, dict[str, Any]] = {kind: {} for kind in _KINDS}
    for document in documents:
        reader = _Reader(document, findings, force=force)
        with findings.collect(document.source, document.line):
            reader.read(found)
    definitions = Definitions(
        groups=tuple(found["Group"].values()),
        policies=tuple(found["Policy"].values()),
        placements=tuple(found["Placement"].values()),
        agents=tuple(found["Agent"].values()),
        proxies=tuple(found["Proxy"].values()),
    )
    check_relations(definitions, findings)
    check_places(definitions, findings)
    findings.finish()
    return definitions


class _Reader:
    """Turns one document into a definition; what is wrong goes to the findings, part by part."""

    def __init__(self, document: Document, findings: Findings, *, force: bool) -> None:
        self.document = document
        self.findings = findings
        self.force = force
        self.lines: dict[str, int] = {}

    def read(self, found: dict[str, dict[str, Any]]) -> None:
        """Add the definition to those of its kind."""
        data = self._mapping(self.document.data, "a definition")
        self._keys(data, "definition", "a definition")
        if data.get("apiVersion") != API_VERSION:
            problem = f"apiVersion: {show(data.get('apiVersion'))} is not known here"
            hint = f"Write 'apiVersion: {API_VERSION}'"
            raise DefinitionError("api_version", problem, hint, line=line_of(data, "apiVersion"))
        kind = data.get("kind")
        if kind not in _KINDS:
            problem = f"kind: {show(kind)} is not known here"
            raise DefinitionError("kind", problem, nearest(str(kind), _KINDS), line=line_of(data, "kind"))
        metadata = self._mapping(data.get("metadata"), "metadata", line_of(data, "metadata"))
        self._keys(metadata, "metadata", "metadata")
        self.lines["name"] = line_of(metadata, "name")
        with self.findings.collect(self.document.source, self.lines["name"]):
            name = check_name(metadata.get("name"), str(kind).lower())
            spec = data.get("spec")
            if spec is None and kind == "Group":
                spec = LinedDict(line_of(data, "spec"))
            spec = self._mapping(spec, "spec", line_of(data, "spec"))
            readers: dict[str, Callable[[str, LinedDict, LinedDict], _Named]] = {
                "Group": self._group,
                "Policy": self._policy,
                "Placement": self._placement,
                "Agent": self._agent,
                "Proxy": self._proxy,
            }
            self._add(found[kind], readers[kind](name, metadata, spec))

    def _group(self, name: str, metadata: LinedDict, spec: LinedDict) -> GroupDefinition:
        self._keys(spec, "group", "the spec of a group")
        is_root = name == ROOT_GROUP
        parent = "" if is_root else ROOT_GROUP
        inherits = not is_root
        exceptions: dict[str, bool] = {}
        policies: dict[str, str | None] = {}
        with self._part(spec, "parent"):
            parent = _parent(name, spec)
        with self._part(spec, "inherits"):
            inherits = read_flag(spec, "inherits", default=not is_root)
            if is_root and "inherits" in spec:
                raise _root_inherits("inherits")
        with self._part(spec, "inheritance"):
            exceptions = self._exceptions(spec)
            if is_root and exceptions:
                raise _root_inherits("inheritance")
        with self._part(spec, "policies"):
            policies = self._assignments(spec, "policies")
        locations = None
        with self._part(spec, "locations"):
            if spec.get("locations") is not None:
                locations = self._locations(spec["locations"])
        check = memory = None
        with self._part(spec, "location_check"):
            if "location_check" in spec:
                check = _location_check(spec["location_check"])
        with self._part(spec, "location_memory"):
            if "location_memory" in spec:
                memory = read_flag(spec, "location_memory")
        minimum = 0
        with self._part(spec, "minimum_serial"):
            minimum = _minimum_serial(spec)
        communication = spec.get("communication")
        with self._part(spec, "communication"):
            if communication is not None:
                _check_communication(self._mapping(communication, "communication"))
        return GroupDefinition(
            name=name,
            parent=parent,
            inherits=inherits,
            exceptions=exceptions,
            policies=policies,
            communication=communication,
            locations=locations,
            location_check=check,
            location_memory=memory,
            labels=self._texts(metadata, "labels"),
            annotations=self._texts(metadata, "annotations"),
            tests=self._tests(spec, group=name),
            minimum_serial=minimum,
            place=self._place(),
        )

    def _locations(self, value: object) -> tuple[LocationDefinition, ...] | None:
        found = read_locations(
            value,
            part=lambda line: self.findings.collect(self.document.source, line or self.lines["locations"]),
            assignments=self._assignments,
            check_settings=_check_communication,
            force=self.force,
        )
        for one in found or ():
            self.lines[f"locations.{one.name}"] = one.line
            self.lines[f"locations.{one.name}.communication"] = line_of(one.communication) or one.line
        return found

    def _placement(self, name: str, metadata: LinedDict, spec: LinedDict) -> PlacementDefinition:
        annotations = self._texts(metadata, "annotations")
        self.lines["group"] = line_of(spec, "group")
        rule = read_placement(name, spec.without("labels"), self._texts(spec, "labels"))
        return PlacementDefinition(name=name, rule=rule, annotations=annotations, place=self._place())

    def _proxy(self, name: str, metadata: LinedDict, spec: LinedDict) -> WantedProxy:
        if metadata.get("labels"):
            problem, hint = _no_labels("Proxy", name)
            raise DefinitionError("proxy", problem, hint, line=line_of(metadata, "labels"))
        annotations = self._texts(metadata, "annotations")
        self.lines["groups"] = line_of(spec, "groups")
        found = read_proxy_definition(name, spec)
        return WantedProxy(name=name, definition=found, annotations=annotations, place=self._place())

    def _agent(self, name: str, metadata: LinedDict, spec: LinedDict) -> WantedAgent:
        if metadata.get("labels"):
            problem, hint = _no_labels("Agent", name)
            raise DefinitionError("agent", problem, hint, line=line_of(metadata, "labels"))
        annotations = self._texts(metadata, "annotations")
        for key in ("address", "uid", "proxy"):
            self.lines[key] = line_of(spec, key)
        found = read_agent_definition(name, spec)
        return WantedAgent(name=name, definition=found, annotations=annotations, place=self._place())

    def _policy(self, name: str, metadata: LinedDict, spec: LinedDict) -> PolicyDefinition:
        kind = spec.get("type")
        if not isinstance(kind, str):
            problem = f"the policy {name!r} names no type"
            hint = f"Add 'type:', one of {', '.join(sorted(TYPES))}"
            raise DefinitionError("policy_type", problem, hint, line=line_of(spec, "type"))
        private_to = ""
        body: dict[str, Any] = {}
        with self._part(spec, "private_to"):
            if spec.get("private_to") is not None:
                private_to = check_name(spec["private_to"], "group")
        with self._part(spec, "type"):
            body = check_policy(kind, spec.without("type", "private_to", "tests"))
        return PolicyDefinition(
            name=name,
            type=kind,
            body=body,
            private_to=private_to,
            labels=self._texts(metadata, "labels"),
            annotations=self._texts(metadata, "annotations"),
            tests=self._tests(spec),
            place=self._place(),
        )

    def _exceptions(self, spec: LinedDict) -> dict[str, bool]:
        """Return item → whether it is inherited, of ``inheritance``."""
        if spec.get("inheritance") is None:
            return {}
        held = self._mapping(spec["inheritance"], "inheritance")
        check_keys(held, ("policies", COMMUNICATION, LOCATIONS), "inheritance")
        found: dict[str, bool] = {}
        if held.get("policies") is not None:
            types = self._mapping(held["policies"], "inheritance.policies")
            for kind in types:
                _check_type(kind, types)
                found[kind] = read_flag(types, kind)
                self.lines[f"inheritance.{kind}"] = line_of(types, kind)
        for item in (COMMUNICATION, LOCATIONS):
            if item in held:
                found[item] = read_flag(held, item)
        return found

    def _assignments(self, spec: LinedDict, where: str) -> dict[str, str | None]:
        """Return policy type → policy name or None, of ``policies``; ``where`` it stands, for its lines."""
        if spec.get("policies") is None:
            return {}
        held = self._mapping(spec["policies"], where)
        found: dict[str, str | None] = {}
        for kind, name in held.items():
            _check_type(kind, held)
            self.lines[f"{where}.{kind}"] = line_of(held, kind)
            with self.findings.collect(self.document.source, line_of(held, kind)):
                found[kind] = None if name is None else check_name(name, "policy")
        return found

    def _tests(self, spec: LinedDict, *, group: str = "") -> tuple[Expectation, ...]:
        """Return what agents are expected to get; by default those of ``group``."""
        with self._part(spec, "tests"):
            return read_tests(
                spec.get("tests"),
                group=group,
                part=lambda line: self.findings.collect(self.document.source, line or self.lines["tests"]),
                check_settings=_check_communication,
                check_type=_check_type,
            )
        return ()

    def _texts(self, metadata: LinedDict, part: str) -> dict[str, str]:
        """Return the labels or annotations."""
        with self._part(metadata, part):
            if metadata.get(part) is None:
                return {}
            held = self._mapping(metadata[part], part)
            if len(held) > _TEXTS_MAX:
                raise DefinitionError("labels", f"more than {_TEXTS_MAX} {part}", "Leave some out")
            for key, value in held.items():
                good = isinstance(value, str) and len(value) <= _TEXT_LENGTH[part]
                if not good or not LABEL_KEY.fullmatch(key):
                    problem = f"{part}: {show(key)}: {show(value)} is not a name and a text"
                    hint = f"Use letters, digits, '.', '_', '/', '-' and at most {_TEXT_LENGTH[part]} characters of text"
                    raise DefinitionError("labels", problem, hint, line=line_of(held, key))
            return dict(held)
        return {}

    def _part(self, held: LinedDict, part: str) -> AbstractContextManager[None]:
        """Note the line of a part, and collect what is wrong in it."""
        self.lines[part] = line_of(held, part)
        return self.findings.collect(self.document.source, self.lines[part])

    def _place(self) -> Place:
        return Place(source=self.document.source, line=self.document.line, lines=dict(self.lines))

    def _keys(self, held: LinedDict, known: str, where: str) -> None:
        """Collect the keys that have no meaning, all of them."""
        for key in held:
            with self.findings.collect(self.document.source, line_of(held, key)):
                check_keys({key: None}, _KEYS[known], where)

    def _mapping(self, value: object, what: str, line: int = 0) -> LinedDict:
        if isinstance(value, LinedDict):
            return value
        problem = f"{what} is {show(value)}, and must be a mapping"
        raise DefinitionError("form", problem, "Write 'key: value' lines below it", line=line)

    def _add(self, known: dict[str, Any], found: _Named) -> None:
        if found.name in known:
            first = known[found.name].place
            problem = f"{found.name!r} is defined twice, first at {first.source}:{first.line}"
            raise found.place.wrong("name", "twice", problem, "Keep one of them")
        known[found.name] = found


def _no_labels(kind: str, name: str) -> tuple[str, str]:
    problem = f"labels: a definition of kind {kind} has none"
    return problem, f"Label the agent itself: popham label agent {name} KEY=VALUE"


def _location_check(value: object) -> float:
    seconds = parse_duration(value, "location_check")
    if not CHECK_MIN <= seconds <= CHECK_MAX:
        problem = f"location_check: {show_duration(seconds)} is outside 1 s to 1 h"
        raise DefinitionError(
            "location_check", problem, "30s is the default; changes of the network are seen at once"
        )
    return seconds


def _minimum_serial(spec: LinedDict) -> int:
    value = spec.get("minimum_serial", 0)
    if type(value) is not int or not 0 <= value <= SERIAL_MAX:
        problem = f"minimum_serial: {show(value)} is no whole number from 0 to {SERIAL_MAX}"
        hint = "Write the serial that agents must have in force first, as popham get groups shows it"
        raise DefinitionError("minimum_serial", problem, hint)
    return value


def _parent(name: str, spec: LinedDict) -> str:
    parent = spec.get("parent")
    if name == ROOT_GROUP:
        if parent is not None:
            raise DefinitionError("root", f"the root {ROOT_GROUP!r} has no parent", "Leave out 'parent'")
        return ""
    return ROOT_GROUP if parent is None else check_name(parent, "group")


def _check_type(kind: str, held: LinedDict) -> None:
    if kind not in TYPES:
        problem = f"there is no policy type {show(kind)}"
        raise DefinitionError("policy_type", problem, nearest(kind, TYPES), line=line_of(held, kind))


def _root_inherits(key: str) -> DefinitionError:
    problem = f"{key}: the root {ROOT_GROUP!r} cannot inherit, so there is nothing to check or uncheck"
    return DefinitionError("root", problem, "Leave it out; the root's own values hold")


def _check_communication(held: LinedDict) -> None:
    settings_from_definition(held, CommunicationSettings())
