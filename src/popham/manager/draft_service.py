"""What people can do with drafts: prepare them together, look at what they would do, and publish them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from popham.errors import ConflictError
from popham.manager import drafts
from popham.manager.apply_views import ApplyResult
from popham.manager.audit import note
from popham.manager.base import State, check_base, find_moved, read_state, tell_changes
from popham.manager.definitions import PLAIN, Terms
from popham.manager.draft_views import DraftChange, DraftPlan, DraftView, Rebased
from popham.manager.drafts import Draft, Editor, SaveTerms, find_draft, view_draft
from popham.manager.exported import write_policy
from popham.manager.grant import PERMISSIONS, Grant, Permission, require
from popham.manager.objects import read_tree
from popham.manager.policy_service import PolicyService
from popham.model.definition import check
from popham.model.documents import SourceFile
from popham.model.names import check_name
from popham.store.seam import Reading, Writing

_ATTEMPTS = 5
"""How often something is worked out again because somebody changed the draft meanwhile."""


JUST_SAVE = SaveTerms()
"""The terms of who names none."""


class _ChangedError(Exception):
    """Somebody changed the draft after it was read; leaves the transaction."""


class DraftService(PolicyService):
    """The part of the service that is about drafts."""

    async def drafts(self, grant: Grant) -> tuple[DraftView, ...]:
        """Return all drafts by name, without their texts."""
        require(grant, Permission.READ)

        def work(tx: Reading) -> tuple[DraftView, ...]:
            state = _read_state(tx)
            return tuple(view_draft(find_draft(tx, name), state) for name in tx.draft_names())

        return await self._store.read(work)

    async def draft(self, grant: Grant, name: str) -> DraftView:
        """Return one draft with its texts; raises NotFoundError ``not_found.draft``.

        What a policy's type calls secret is shown to those only who may apply it.
        """
        require(grant, Permission.READ)
        secrets = Permission.APPLY in PERMISSIONS[grant.role]

        def work(tx: Reading) -> DraftView:
            found, state = find_draft(tx, name), _read_state(tx)
            marks = {} if secrets else _read_marks(tx, found, state)
            return view_draft(found, state, texts=True, secrets=secrets, marks=marks)

        return await self._store.read(work)

    async def save_draft(
        self, grant: Grant, name: str, files: Sequence[SourceFile], *, terms: SaveTerms = JUST_SAVE
    ) -> DraftView:
        """Put definitions into a draft, which begins by it if it is not there.

        Args:
            grant: Who saves.
            name: Of the draft.
            files: Definitions; each replaces that of the same object in the draft.
            terms: How they are saved.

        Raises:
            GrantError: Not permitted.
            DefinitionSetError: Something is wrong with the definitions, or with the draft as it would be.
            ConflictError: ``conflict.draft``; ``conflict.drafts``: there are too many.
            NotFoundError: ``not_found.draft``: the edition that was looked at is of a draft that is gone.
        """
        require(grant, Permission.APPLY)
        check_name(name, "draft")
        texts = await asyncio.to_thread(_read, files, force=terms.force)
        now = self._clock.now()

        def merge(draft: Draft, state: State) -> tuple[Draft, list[DraftChange]]:
            return drafts.merge(draft, texts, state, terms, actor=grant.actor, now=now)

        for _ in range(_ATTEMPTS):
            planned, _changes = await self._store.read(
                lambda tx: merge(drafts.begin(tx, name, terms), _read_state(tx))
            )
            await asyncio.to_thread(check, planned.files(), force=planned.force)

            def work(tx: Writing, edition: int = planned.edition) -> DraftView:
                before, state = drafts.begin(tx, name, terms), self._state(tx)
                if before.edition != edition:
                    raise _ChangedError
                return self._keep(tx, grant, before, *merge(before, state), state)

            try:
                return await self._write(work)
            except _ChangedError:
                continue
        raise _busy(name)

    async def remove_from_draft(
        self,
        grant: Grant,
        name: str,
        objects: Sequence[str],
        *,
        seen: int | None = None,
        theirs: bool = False,
    ) -> DraftView:
        """Take documents (``policy/motd``) out of a draft; without its last one the draft is gone.

        Raises:
            NotFoundError: ``not_found.draft``, or ``not_found.document``: the draft has none of that name.
            ConflictError: ``conflict.draft``.
        """
        require(grant, Permission.APPLY)

        def work(tx: Writing) -> DraftView:
            draft, state = find_draft(tx, name), self._state(tx)
            rest, changes = drafts.remove(draft, objects, Editor(actor=grant.actor, seen=seen, theirs=theirs))
            return self._keep(tx, grant, draft, rest, changes, state)

        return await self._write(work)

    async def discard_draft(
        self, grant: Grant, name: str, *, seen: int | None = None, theirs: bool = False
    ) -> None:
        """Forget a draft.

        Raises:
            NotFoundError: ``not_found.draft``.
            ConflictError: ``conflict.draft``: it has what somebody else saved.
        """
        require(grant, Permission.APPLY)
        now = self._clock.now()

        def work(tx: Writing) -> None:
            draft = find_draft(tx, name)
            Editor(actor=grant.actor, seen=seen, theirs=theirs).check(draft, sorted(draft.documents))
            tx.delete_draft(name)
            note(tx, grant, "draft.discard", f"draft/{name}", now=now, before=_told(draft))

        await self._write(work)

    async def plan_draft(self, grant: Grant, name: str, *, terms: Terms = PLAIN) -> DraftPlan:
        """Tell what the publishing of a draft would do; errors as for a dry run of :meth:`apply`."""
        require(grant, Permission.PLAN)

        def work(tx: Reading) -> tuple[Draft, tuple[str, ...]]:
            draft = find_draft(tx, name)
            return draft, tuple(tell_changes(tx, find_moved(_read_state(tx), draft.base)))

        draft, moved = await self._store.read(work)
        definitions = await asyncio.to_thread(check, draft.files(), force=draft.force)
        plan = await self._carry_out(grant, definitions, replace(terms, dry_run=True))
        return DraftPlan(edition=draft.edition, moved=moved, plan=plan)

    async def publish_draft(
        self, grant: Grant, name: str, *, seen: int | None = None, terms: Terms = PLAIN
    ) -> ApplyResult:
        """Apply a draft as one change, after which the draft is gone.

        Args:
            grant: Who publishes.
            name: Of the draft.
            seen: The edition that was planned; refused if it is another one. None for any.
            terms: As for an apply; without a message its own names draft and authors.

        Raises:
            NotFoundError: ``not_found.draft``.
            ConflictError: ``conflict.draft``; ``conflict.base``: an object has changed under the draft; or as
                :meth:`apply`.
            DefinitionSetError: As :meth:`apply`.
        """
        require(grant, Permission.APPLY)
        now = self._clock.now()
        for _ in range(_ATTEMPTS):
            draft = await self._store.read(lambda tx: find_draft(tx, name))
            drafts.check_edition(draft, seen)
            definitions = await asyncio.to_thread(check, draft.files(), force=draft.force)
            found = replace(terms, dry_run=False, message=terms.message or draft.reason())

            def first(tx: Writing, draft: Draft = draft) -> None:
                if find_draft(tx, name).edition != draft.edition:
                    raise _ChangedError
                hint = f"Nothing was applied. Look at it: popham draft plan {name}. Then: popham draft rebase {name}"
                check_base(tx, self._state(tx), draft.base, since="it came into the draft", hint=hint)
                tx.delete_draft(name)
                note(tx, grant, "draft.publish", f"draft/{name}", now=now, before=_told(draft))

            try:
                return await self._carry_out(grant, definitions, found, first=first)
            except _ChangedError:
                continue
        raise _busy(name)

    async def rebase_draft(self, grant: Grant, name: str) -> Rebased:
        """Let a draft rest on all objects as they are now, and tell which had changed.

        Raises:
            NotFoundError: ``not_found.draft``.
        """
        require(grant, Permission.APPLY)
        now = self._clock.now()

        def work(tx: Writing) -> Rebased:
            draft, state = find_draft(tx, name), self._state(tx)
            moved = find_moved(state, draft.base)
            if not moved:
                return Rebased(edition=draft.edition, moved=())
            told = tuple(tell_changes(tx, moved))
            after = {"rebased": moved}
            entry = note(tx, grant, "draft.rebase", f"draft/{name}", now=now, after=after)
            found = replace(drafts.rebase(draft, state), author=grant.actor, at=now, edition=entry.seq)
            tx.put_draft(found.row())
            return Rebased(edition=entry.seq, moved=told)

        return await self._write(work)

    def _state(self, tx: Writing) -> State:
        return read_state(tx, self._bundles.groups.read(tx))

    def _keep(
        self,
        tx: Writing,
        grant: Grant,
        before: Draft,
        draft: Draft,
        changes: Sequence[DraftChange],
        state: State,
    ) -> DraftView:
        """Store a changed draft, or nothing if nothing changed; one without documents is deleted."""
        now = self._clock.now()
        if before == draft:
            return view_draft(draft, state, changes=changes)
        after = {"message": draft.message, "documents": {one.document: one.action for one in changes}}
        entry = note(
            tx,
            grant,
            "draft.save",
            f"draft/{draft.name}",
            now=now,
            before=_told(before) if before.edition else None,
            after=after,
        )
        documents = {
            about: replace(saved, edition=saved.edition or entry.seq)
            for about, saved in draft.documents.items()
        }
        found = replace(draft, documents=documents, author=grant.actor, at=now, edition=entry.seq)
        if documents:
            tx.put_draft(found.row())
        else:
            tx.delete_draft(draft.name)
        return view_draft(found, state, changes=changes)


def _read(files: Sequence[SourceFile], *, force: bool) -> dict[str, str]:
    """Return object → text of what ``files`` define; errors have the lines of these files."""
    check(files, force=force)
    return drafts.split(files)


def _read_state(tx: Reading) -> State:
    return read_state(tx, {group.name: group for group in read_tree(tx)})


def _read_marks(tx: Reading, draft: Draft, state: State) -> dict[str, Mapping[str, Any]]:
    """Return object → the spec of each policy of a draft that is there already."""
    heads = {about: state.policies.get(about.removeprefix("policy/")) for about in draft.documents}
    return {about: write_policy(tx, head)["spec"] for about, head in heads.items() if head is not None}


def _told(draft: Draft) -> dict[str, object]:
    """Return a draft for the audit: whose documents it has, without their texts."""
    return {
        "message": draft.message,
        "documents": {about: one.author for about, one in draft.documents.items()},
    }


def _busy(name: str) -> ConflictError:
    problem = f"draft {name!r} changed again and again meanwhile"
    return ConflictError("draft", problem, "Nothing was changed. Try again")
