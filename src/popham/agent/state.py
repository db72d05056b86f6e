"""What an agent keeps: who it is, whom it believes, what it was told, and how far it got.

One JSON file per noun, each written whole and durable before the call
returns.  Nothing here verifies a signature; what is kept was verified before,
and is verified again by whoever reads it.

1. A damaged file is an error that names it and says what to do; a damaged
   body of a policy is forgotten and fetched again.
2. Floors never fall.
3. Bodies are kept as long as the newest bundle, the one in force, or one that an undo may go back to names them.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from dataclasses import replace
from typing import Any

import msgspec

from popham.agent.reading import FETCHED, Record, blob_name, blobs_of, decode, read_key
from popham.agent.records import (
    Drift,
    Floors,
    Identity,
    Join,
    Probation,
    Progress,
    Standing,
    TrustedDocuments,
)
from popham.agent.storage import MemoryStorage, Reserved, Storage
from popham.errors import StateError
from popham.model.names import digest
from popham.model.policy import MAX_BODY
from popham.statedir import FORMAT, WALLED
from popham.trust.dsse import ENVELOPE_LIMIT
from popham.trust.keys import IdentityKey
from popham.trust.verify import Floor, check_blob

_log = logging.getLogger(__name__)
MAX_RECORD = 4 * 1024 * 1024
"""Bytes of a record that is no envelope."""

_WAYS_BACK = frozenset({"proven.json", "former.json"})


class AgentState:
    """What one agent keeps in ``storage``. Each ``save`` is durable when it returns; StateError ``state.disk`` if not.

    Attributes:
        room: Keeps some of the disk for an undo.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = self.room = Reserved(storage)
        self._identity: Identity | None = None
        self._key: IdentityKey | None = None

    def join(self) -> Join | None:
        """Return how this machine joined, None if it never did."""
        return self._load("join.json", Join)

    def save_join(self, join: Join) -> None:
        """Keep how this machine joined."""
        if join.walled and (self._storage.read(FORMAT, 64) or b"popham-agent").startswith(b"popham-agent"):
            self._storage.write(FORMAT, WALLED.encode())
        self._save("join.json", join)

    def drop_join(self) -> None:
        """Forget how this machine wanted to join: it was not let in."""
        self._storage.remove("join.json")

    def drop_seed(self) -> None:
        """Forget the enrollment token: the certificate works."""
        join = self.join()
        if join is not None and join.seed is not None:
            self.save_join(replace(join, seed=None))

    @property
    def uid(self) -> str:
        """This machine's instance_uid.

        Raises:
            StateError: ``state.not_enrolled``.
        """
        return self._need_identity().uid

    def identity(self) -> Identity | None:
        """Return who this machine is, None before enrollment began."""
        if self._identity is None:
            self._identity = self._load("identity.json", Identity)
        return self._identity

    def create_identity(self, uid: str, key: IdentityKey) -> None:
        """Keep a new identity without a certificate, in place of any other."""
        self._save_identity(Identity(uid=uid, key=key.pem))

    def need_identity(self) -> None:
        """Keep a new identity if there is none yet."""
        if self.identity() is None:
            # Imported when it is needed: that is once, and an idle agent has a budget of memory.
            from uuid_utils import uuid7

            self.create_identity(str(uuid.UUID(bytes=uuid7().bytes)), IdentityKey.create())

    def identity_key(self) -> IdentityKey:
        """Return the key whose certificate is in use.

        Raises:
            StateError: ``state.not_enrolled``, or ``state.corrupt`` if it is no P-256 key.
        """
        if self._key is None:
            self._key = read_key(self._need_identity().key)
        return self._key

    def certificate(self) -> bytes | None:
        """Return the certificate in use as PEM, None if there is none yet."""
        identity = self.identity()
        return identity.certificate if identity else None

    def save_certificate(self, certificate: bytes) -> None:
        """Use another certificate for the same key from now on.

        Raises:
            StateError: ``state.not_enrolled``.
        """
        self._save_identity(replace(self._need_identity(), certificate=certificate))

    def next_key(self) -> IdentityKey | None:
        """Return the new key for which a certificate is asked for, None if there is none."""
        identity = self.identity()
        return read_key(identity.next_key) if identity and identity.next_key else None

    def save_next_key(self, key: IdentityKey | None) -> None:
        """Keep a new key beside the one in use, before anybody hears of it; None to forget it."""
        self._save_identity(replace(self._need_identity(), next_key=key.pem if key else None))

    def change_key(self, certificate: bytes, assignment: bytes) -> None:
        """Use the new key from now on, with its certificate, and the assignment that names it: all, or nothing.

        Raises:
            StateError: ``state.not_enrolled``: there is none.
        """
        held = self._need_identity()
        if held.next_key is None:
            raise StateError("not_enrolled", "there is no new key on this machine")
        self._save_identity(
            Identity(uid=held.uid, key=held.next_key, certificate=certificate, assignment=assignment)
        )
        self.save_assignment(assignment)

    def documents(self) -> TrustedDocuments | None:
        """Return TUF's root and targets, None before enrollment."""
        return self._load("trust.json", TrustedDocuments)

    def save_documents(self, root: bytes, targets: bytes) -> None:
        """Keep TUF's root and targets."""
        self._save("trust.json", TrustedDocuments(root=root, targets=targets))

    def assignment(self) -> bytes | None:
        """Return the newest assignment as it came, None if there is none."""
        identity = self.identity()
        # One that names the key in use goes before one of a former key, which a kill may have left.
        return identity.assignment if identity and identity.assignment else self._envelope("assignment.json")

    def save_assignment(self, envelope: bytes) -> None:
        """Keep the newest assignment."""
        self._storage.write("assignment.json", envelope)
        identity = self.identity()
        if identity is not None and identity.assignment is not None:
            self._save_identity(replace(identity, assignment=None))

    def bundle(self) -> bytes | None:
        """Return the newest accepted bundle as it came, None if there is none."""
        return self._envelope("bundle.json")

    def save_bundle(self, envelope: bytes) -> None:
        """Keep the newest accepted bundle, and forget bodies that no kept bundle names."""
        self._storage.write("bundle.json", envelope)
        self.prune_blobs()

    def last_good(self) -> bytes | None:
        """Return the bundle that is in force as it came, None if there is none."""
        return self._envelope("last-good.json")

    def save_last_good(self, envelope: bytes | None = None) -> None:
        """Note that a bundle is in force; None for the newest accepted one.

        Raises:
            StateError: ``state.bundle``: there is none.
        """
        envelope = envelope or self.bundle()
        if envelope is None:
            raise StateError("bundle", "there is no bundle that could be in force", FETCHED)
        self._storage.write("last-good.json", envelope)
        self.prune_blobs()

    def drop_last_good(self) -> None:
        """Note that no bundle is in force."""
        self._storage.remove("last-good.json")

    def proven(self) -> bytes | None:
        """Return the bundle that an undo goes back to as it came, None if there is none."""
        return self._envelope("proven.json")

    def save_proven(self, envelope: bytes | None) -> None:
        """Keep the bundle that an undo goes back to; None if that is nothing."""
        if envelope is None:
            self._storage.remove("proven.json")
        elif self._storage.read("proven.json", ENVELOPE_LIMIT) != envelope:
            self._storage.write("proven.json", envelope)

    def former(self) -> bytes | None:
        """Return the bundle that was on trial before the one that is now, None if there is none."""
        return self._envelope("former.json")

    def save_former(self, envelope: bytes) -> None:
        """Keep the bundle that was on trial until now, for an undo of the one that follows."""
        self._storage.write("former.json", envelope)

    def probation(self) -> Probation:
        """Return what is watched and what was undone."""
        return self._load("probation.json", Probation) or Probation()

    def save_probation(self, probation: Probation) -> None:
        """Keep what is watched and what was undone."""
        self._save("probation.json", probation)

    def floor(self, tenant: str, group: str) -> Floor | None:
        """Return the newest bundle ever accepted for a group, None if there was none."""
        return self._floors().bundles.get(f"{tenant}/{group}")

    def save_floor(self, tenant: str, group: str, floor: Floor) -> None:
        """Raise a group's floor; a lower one changes nothing."""
        floors = self._floors()
        held = floors.bundles.get(f"{tenant}/{group}")
        if held is None or floor.version > held.version:
            bundles = floors.bundles | {f"{tenant}/{group}": floor}
            self._save("floors.json", replace(floors, bundles=bundles))

    def assignment_floor(self) -> int:
        """Return the highest number of an assignment ever accepted; 0 if there was none."""
        return self._floors().assignment

    def save_assignment_floor(self, seq: int) -> None:
        """Raise the assignment's floor; a lower one changes nothing."""
        floors = self._floors()
        if seq > floors.assignment:
            self._save("floors.json", replace(floors, assignment=seq))

    def progress(self) -> Progress:
        """Return how far the newest bundle got."""
        return self._load("progress.json", Progress) or Progress()

    def save_progress(self, progress: Progress) -> None:
        """Keep how far the newest bundle got."""
        self._save("progress.json", progress)

    def standing(self) -> Standing | None:
        """Return where the machine was last, None if it never looked around."""
        return self._load("location.json", Standing)

    def save_standing(self, standing: Standing) -> None:
        """Keep where the machine is."""
        self._save("location.json", standing)

    def drift(self) -> Drift:
        """Return what was found to differ from the policies in force."""
        return self._load("drift.json", Drift) or Drift()

    def save_drift(self, drift: Drift) -> None:
        """Keep what was found to differ."""
        self._save("drift.json", drift)

    def blob(self, sha256: str) -> bytes | None:
        """Return a policy's body, None if it is not here; a damaged one is forgotten."""
        name = blob_name(sha256)
        try:
            data = self._storage.read(name, MAX_BODY)
        except StateError:
            data = b""
        if data is None or digest(data) == sha256:
            return data
        # Where it cannot be removed it is none either: the next one that comes takes its place.
        with contextlib.suppress(StateError):
            self._storage.remove(name)
        return None

    def put_blob(self, sha256: str, data: bytes) -> None:
        """Keep a policy's body.

        Raises:
            TrustError: ``trust.blob``: ``data`` is not what ``sha256`` names.
        """
        name = blob_name(sha256)
        check_blob(data, sha256, len(data))
        if self.blob(sha256) is None:
            self._storage.write(name, data)

    def prune_blobs(self) -> None:
        """Forget bodies that neither the newest bundle nor the one in force nor the proven or former one names.

        While one of them is of a newer program, whatever it may name is kept. A damaged one of those that only an
        undo needs names nothing.
        """
        trial = self.probation().trial
        parts = [one for one in (self.progress().parts, trial.parts if trial else None) if one is not None]
        needed = {ref.sha256 for one in parts for ref in one.policies}
        for name in ("bundle.json", "last-good.json", "proven.json", "former.json"):
            try:
                envelope = self._envelope(name)
                named = set() if envelope is None else blobs_of(name, envelope)
            except StateError as error:
                if name not in _WAYS_BACK:
                    raise
                _log.warning("%s", error)
                continue
            if named is None:
                return
            needed |= named
        for sha256 in self._storage.names("blobs"):
            if sha256 not in needed:
                self._storage.remove(f"blobs/{sha256}")

    def _need_identity(self) -> Identity:
        identity = self.identity()
        if identity is None:
            hint = "Run 'popham agent enroll' with a join string first"
            raise StateError("not_enrolled", "this machine has no identity yet", hint)
        return identity

    def _save_identity(self, identity: Identity) -> None:
        self._save("identity.json", identity)
        self._identity, self._key = identity, None

    def _floors(self) -> Floors:
        return self._load("floors.json", Floors) or Floors()

    def _envelope(self, name: str) -> bytes | None:
        data = self._storage.read(name, ENVELOPE_LIMIT)
        if data is not None:
            decode(name, data, dict[str, Any])
        return data

    def _load(self, name: str, kind: type[Record]) -> Record | None:
        data = self._storage.read(name, MAX_RECORD)
        return None if data is None else decode(name, data, kind)

    def _save(self, name: str, record: object) -> None:
        self._storage.write(name, msgspec.json.format(msgspec.json.encode(record), indent=2))


class MemoryAgentState(AgentState):
    """The same in memory, for simulations: nothing outlives it but what ``storage`` is handed on."""

    def __init__(self, storage: MemoryStorage | None = None) -> None:
        self.storage = storage or MemoryStorage()
        super().__init__(self.storage)
