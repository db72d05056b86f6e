"""The assignment: the signed document that puts one agent into one group.

It names the agent's key, so neither a proxy nor another agent can use it to
move a machine to a laxer group.  It does not expire; a newer one has a higher
``seq``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from popham.errors import PophamError, TrustError
from popham.model.cell import Dialer
from popham.model.names import DEFAULT_TENANT, canonical, check_name
from popham.trust.document import parse_strict

ASSIGNMENT_TYPE = "application/vnd.popham.assignment.v1+json"
_OPTIONAL = frozenset({"dialer", "may_dial", "candidate"})
"""Fields that stand in it only where they say something; older agents do not know them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Which group an agent belongs to.

    Attributes:
        uid: instance_uid of the agent, as a UUID string.
        spki_sha256: SHA-256 of the agent's public key, hexadecimal.
        group: Name of the group.
        seq: Rises with each: max(previous + 1, unix milliseconds).
        issued: Unix seconds of the signing.
        dialer: Who opens connections, whatever the group's settings say; None for what they say.
        may_dial: Whether it may dial although it was born by a visit; if not, that stays as it is.
        candidate: Name of the rollout whose candidate it is to use; empty for none.
    """

    uid: str
    spki_sha256: str
    group: str
    seq: int
    issued: int
    tenant: str = DEFAULT_TENANT
    dialer: Dialer | None = None
    may_dial: bool = False
    candidate: str = ""

    def payload(self) -> bytes:
        """Return the bytes to sign."""
        held = asdict(self)
        return canonical({key: value for key, value in held.items() if key not in _OPTIONAL or value})

    @classmethod
    def from_payload(cls, payload: bytes) -> Assignment:
        """Return the assignment in ``payload``, whose signature has been verified.

        Fields that this program does not know are ignored, unless listed in ``crit``.

        Raises:
            TrustError: ``trust.document`` if it is no assignment; ``trust.crit``.
        """
        try:
            data = parse_strict(payload)
            refuse_critical(data)
            named = (field for field in fields(cls) if field.name not in _OPTIONAL)
            found = cls(**{field.name: _field(data, field.name, str(field.type)) for field in named})
            return replace(
                found,
                dialer=_dialer(data),
                may_dial=_flag(data, "may_dial"),
                candidate=_text(data, "candidate"),
            )
        except ValueError as error:
            raise TrustError("document", f"the assignment is malformed: {error}") from error


def refuse_critical(data: dict[str, Any], known: Collection[str] = ()) -> None:
    """Return if ``data`` needs nothing that this program does not know, which is what ``known`` names.

    Raises:
        TrustError: ``trust.crit``: it names something in ``crit``.
    """
    crit = data.get("crit", [])
    unknown = [word for word in crit if word not in known] if isinstance(crit, list) else crit
    if unknown != []:
        named = ", ".join(map(str, unknown)) if isinstance(unknown, list) else repr(unknown)
        problem = f"the document needs {named[:200]}, which this program does not know"
        raise TrustError("crit", problem, "Upgrade this program")


def check_audience(what: str, named: str, own: str) -> None:
    """Return if a document is for this reader.

    Raises:
        TrustError: ``trust.audience``: it is for another.
    """
    if named != own:
        raise TrustError("audience", f"the document is for {what} {named[:100]!r}, not for {own!r}")


def _dialer(data: dict[str, Any]) -> Dialer | None:
    value = data.get("dialer")
    if value is None:
        return None
    if not isinstance(value, str) or value not in set(Dialer):
        raise ValueError("dialer is neither agent nor manager")
    return Dialer(value)


def _flag(data: dict[str, Any], name: str) -> bool:
    value = data.get(name, False)
    if value is True or value is False:
        return bool(value)
    raise ValueError(f"{name} is of another kind")


def _text(data: dict[str, Any], name: str) -> str:
    value = data.get(name, "")
    if isinstance(value, str):
        return value
    raise ValueError(f"{name} is of another kind")


def _field(data: dict[str, Any], name: str, kind: str) -> Any:
    value = data.get(name)
    if type(value) is not (int if kind == "int" else str):
        raise ValueError(f"{name} is missing or of another kind")
    if isinstance(value, int) and not 0 <= value < 2**63:
        raise ValueError(f"{name} is out of range")
    if name == "group":
        try:
            check_name(value, "group")
        except PophamError as error:
            raise ValueError(error.problem) from error
    return value
