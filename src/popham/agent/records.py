"""What an agent keeps, noun by noun; :mod:`popham.agent.state` keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from popham.model.bundle import PolicyRef
from popham.model.names import DEFAULT_LOCATION
from popham.model.status import Outcome
from popham.trust.verify import Floor


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """How this machine joined: the anchor of its trust.

    Attributes:
        urls: Where upstream listens, in the order of preference.
        ca: Certificate of the CA, PEM.
        ca_sha256: SHA-256 of the CA's SPKI, hexadecimal.
        root_sha256: SHA-256 of the first TUF root, hexadecimal.
        seed: The enrollment token, until a certificate was used; None from then on.
        walled: Whether it is born by a visit, and may not dial until an assignment lets it; its ``ca`` is empty
            until the first visit.
    """

    urls: tuple[str, ...]
    ca: bytes
    ca_sha256: str
    root_sha256: str
    seed: bytes | None = field(default=None, repr=False)
    walled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this machine is. Keys and certificates are PEM.

    Attributes:
        uid: instance_uid as a UUID string.
        certificate: None until enrolled.
        next_key: A new key, for which a certificate is asked for; None if there is none.
        assignment: The assignment that names the key, until it stands where assignments are kept.
    """

    uid: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    key: bytes = field(repr=False)
    certificate: bytes | None = None
    next_key: bytes | None = field(default=None, repr=False)
    assignment: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedDocuments:
    """TUF's root and targets, as they came."""

    root: bytes
    targets: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Floors:
    """What nothing older than is taken: per ``tenant/group`` a bundle, and the assignment's number."""

    bundles: dict[str, Floor] = field(default_factory=dict)
    assignment: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What holds of a bundle of which something is withheld: some policies are of a former one, or left out.

    Attributes:
        location: Where that holds.
        policies: All of them.
    """

    location: str
    policies: tuple[PolicyRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the newest bundle got; fields as in :class:`popham.model.status.StateRecord`.

    Attributes:
        parts: What of the bundle in force holds; None for all of it.
    """

    revision: int = 0
    outcome: Outcome = Outcome.NONE
    error_code: str = ""
    error: str = ""
    since: float = 0.0
    applied_serial: int = 0
    applied_resolved: str = ""
    withheld: tuple[str, ...] = ()
    parts: Parts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where the machine is.

    Attributes:
        location: Name of the location.
        rules: Conditions that held, in words; none in the default location.
        since: Wall time at which it came there, in unix seconds; 0 if it was never elsewhere.
    """

    location: str = DEFAULT_LOCATION
    rules: tuple[str, ...] = ()
    since: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What was found to differ from the policies in force; fields as in :class:`popham.model.status.StateRecord`.

    Attributes:
        paths: What differs now and is still to be put back, sorted.
        path: What was found differing last; empty if nothing ever was.
        at: Wall time of that, in unix seconds; 0 for never.
        put_back: How often something was put back on the day (UTC) of ``at``.
        error: Why what differs could not be put back when that was last tried; empty if it could.
    """

    paths: tuple[str, ...] = ()
    path: str = ""
    at: float = 0.0
    put_back: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A set that is watched, since it came into force or is about to.

    Attributes:
        resolved: Its resolved digest.
        serial: Serial of its content, for sentences.
        until: Wall time at which its window ends, in unix seconds.
        contact: Whether it is undone for want of contact; not where the machine itself moved elsewhere, and
            upstream had answered there.
        location: Location of the proven set.
        proven: Resolved digest of the proven set; empty if nothing was in force before.
        parts: What of that one's bundle held; None for all of it.
        former: Resolved digest of the set that was on trial before it and did well so far; empty if none was.
        former_location: Location of that.
        starts: How often the agent's process began in the window after one that did not end well.
        running: Whether a process is at it that did not end yet.
        undoing: Code of why the proven set is being put back; empty if it is not.
        answered: Whether upstream had answered when the last process ended as it should.
        before: Resolved digests of sets of other locations that came before it and that upstream never answered.
        lost: Whether another was undone for want of contact just before, and upstream was not heard since: then
            this one is not undone for that.
    """

    resolved: str
    serial: int
    until: float
    contact: bool
    location: str
    proven: str
    parts: Parts | None = None
    former: str = ""
    former_location: str = ""
    starts: int = 0
    running: bool = True
    undoing: str = ""
    answered: bool = False
    before: tuple[str, ...] = ()
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """A set that this machine undid by itself.

    Attributes:
        resolved: Its resolved digest.
        serial: Serial of its content, for sentences.
        code: Code of why.
        error: The sentence.
        at: Wall time of it, in unix seconds.
        times: How often, but for what is excused.
        again: Whether it is in force, or tried, once more.
        final: Whether contact alone does not have it tried again.
        excused: How often that did not bring contact back, and is not counted.
    """

    resolved: str
    serial: int
    code: str
    error: str
    at: float
    times: int = 1
    again: bool = False
    final: bool = False
    excused: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Probation:
    """What is watched and what was undone.

    Attributes:
        trial: What is watched now; None, and what is in force has proven itself.
        undone: What was undone, the newest last.
        watched_until: End of the newest window, in unix seconds; 0 if there was none.
    """

    trial: Trial | None = None
    undone: tuple[Undone, ...] = ()
    watched_until: float = 0.0
