"""Drafts: definitions that people prepare on the Manager, and publish as one apply.

A draft reaches no agent, and no plan but its own counts it.

Rules:

1. A draft has at most one document of each object, as one text; comments of the files are not kept.
2. A document rests on its object as it was when the document first came into the draft.  If the object has
   changed since, the draft is not published before somebody rebases it.
3. A document is replaced or taken out only by who saved it last, by who names an edition of the draft that
   had it already, or by who says so (*theirs*).  Everybody else is told whose it is.
4. An edition is the number of the audit's entry about the change, so no later draft has it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

from popham.errors import ConflictError, DefinitionError, NotFoundError
from popham.manager.base import State, find_moved, last_change, who
from popham.manager.draft_views import DraftChange, DraftDocument, DraftView
from popham.manager.objects import show_some
from popham.model.agent_definition import without_secrets
from popham.model.difference import redact_spec
from popham.model.documents import MAX_TEXT, SourceFile, read_documents
from popham.model.names import canonical, nearest
from popham.model.policy import check_policy
from popham.model.types.redaction import HIDDEN
from popham.model.yaml_text import write_yaml
from popham.store.rows import DraftRow
from popham.store.seam import Reading

DRAFTS_MAX = 100
"""Drafts of one Manager, each as large as one apply may be."""
_NAMED = 5
"""Documents or authors that a sentence names."""
_HEAD = ("type", "private_to", "tests")
_NO_MARKS: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A document of a draft.

    Attributes:
        text: YAML.
        base: Digest of its object when it first came into the draft; empty if there was none.
        author, at: Who saved it last, and when.
        edition: The edition of the draft that brought this text; 0 while it is being saved.
        force: Whether what is possible and unwise is taken.
    """

    text: str
    base: str
    author: str
    at: float
    edition: int
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A draft. ``documents`` is object (``policy/motd``) → its document; the rest is as in the row."""

    name: str
    author: str = ""
    at: float = 0.0
    edition: int = 0
    message: str = ""
    documents: Mapping[str, Saved]

    @property
    def force(self) -> bool:
        """Return whether one of its documents needs what is unwise."""
        return any(saved.force for saved in self.documents.values())

    @property
    def base(self) -> dict[str, str]:
        """Return object → digest, of all that it is about."""
        return {about: saved.base for about, saved in self.documents.items()}

    def files(self) -> list[SourceFile]:
        """Return its documents as files."""
        return [
            SourceFile(f"draft {self.name}: {about}", one.text)
            for about, one in sorted(self.documents.items())
        ]

    def reason(self) -> str:
        """Return the message of its revisions where the one who publishes gives none."""
        authors = sorted({saved.author for saved in self.documents.values()})
        by = f"draft {self.name} by {show_some(authors, _NAMED)}"
        return f"{self.message} ({by})" if self.message else by

    def row(self) -> DraftRow:
        """Return the row that keeps it."""
        documents = {about: asdict(saved) for about, saved in self.documents.items()}
        body = canonical({"message": self.message, "documents": documents}).decode()
        return DraftRow(name=self.name, body=body, author=self.author, at=self.at, edition=self.edition)

    @classmethod
    def of(cls, row: DraftRow) -> Draft:
        """Return the draft that a row keeps."""
        data = json.loads(row.body)
        return cls(
            name=row.name,
            author=row.author,
            at=row.at,
            edition=row.edition,
            message=data["message"],
            documents={about: Saved(**held) for about, held in data["documents"].items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Editor:
    """Who changes a draft, and what they know of it.

    Attributes:
        actor: Their name.
        seen: The edition they looked at; None if they name none.
        theirs: Whether they replace or take out what is not theirs.
    """

    actor: str
    seen: int | None = None
    theirs: bool = False

    def owns(self, saved: Saved) -> bool:
        """Return whether they may replace or take out a document."""
        if self.theirs:
            return True
        return saved.author == self.actor if self.seen is None else saved.edition <= self.seen

    def check(self, draft: Draft, objects: Iterable[str]) -> None:
        """Return if they may replace or take out these documents.

        Raises:
            ConflictError: ``conflict.draft``: it names the documents, who saved them and when.
        """
        others = [(about, draft.documents[about]) for about in objects]
        found = [f"{about} ({who(one.author, one.at)})" for about, one in others if not self.owns(one)]
        if not found:
            return
        since = "which you did not save" if self.seen is None else f"which came after edition {self.seen}"
        problem = f"draft {draft.name!r} has a text {since}: {show_some(found, _NAMED)}"
        hint = f"Nothing was changed. Look at it: popham draft show {draft.name}. Then name the edition with --seen, or give --replace-theirs"
        raise ConflictError("draft", problem, hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveTerms:
    """On which terms documents are saved into a draft.

    Attributes:
        message: What the draft is for; empty keeps what was said before.
        seen: The edition that was looked at; None for none.
        only: Whether the draft is to have nothing else.
        theirs: Whether to replace what somebody else saved, unseen.
        force: Whether to take what is possible and unwise.
    """

    message: str = ""
    seen: int | None = None
    only: bool = False
    theirs: bool = False
    force: bool = False


def split(files: Sequence[SourceFile]) -> dict[str, str]:
    """Return object → text of every definition in ``files``, which are checked already.

    Raises:
        DefinitionError: ``definition.size``: with its aliases written out it is too large;
            ``definition.nothing``: there is none.
    """
    left = MAX_TEXT
    found: dict[str, str] = {}
    for document in read_documents(files):
        data = document.data
        for text in _texts(data):
            left -= len(text)
            if left < 0:
                problem = f"the definitions are larger than {MAX_TEXT // 2**20} MiB"
                raise DefinitionError("size", problem, "Save them as several drafts", source=document.source)
        found[f"{data['kind'].lower()}/{data['metadata']['name']}"] = write_yaml(data)
    if not found:
        raise DefinitionError("nothing", "there is no definition in what was given", "Check the files")
    return found


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in ``value``; what an alias stands for as often as it stands."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, held in value.items():
            yield key
            yield from _texts(held)
    elif isinstance(value, list):
        for held in value:
            yield from _texts(held)


def find_draft(reading: Reading, name: str) -> Draft:
    """Return a draft.

    Raises:
        NotFoundError: ``not_found.draft``; it says what became of it, if it was there.
    """
    row = reading.draft(name)
    if row is not None:
        return Draft.of(row)
    last = last_change(reading, f"draft/{name}")
    problem = f"there is no draft {name!r}"
    if last is None:
        raise NotFoundError("draft", problem, nearest(name, reading.draft_names()))
    ends = {"draft.publish": "published", "draft.discard": "discarded"}
    problem += f": it was {ends.get(last.method, 'emptied')} {who(last.actor, last.at)}"
    raise NotFoundError("draft", problem, f"Save a new one: popham draft save {name} -f DIR")


def check_edition(draft: Draft, seen: int | None) -> None:
    """Return if the draft is still what somebody looked at; ``seen`` is its edition then, None for any.

    Raises:
        ConflictError: ``conflict.draft``: it names who changed it last, and when.
    """
    if seen is not None and draft.edition != seen:
        problem = f"draft {draft.name!r} has changed since edition {seen}: {who(draft.author, draft.at)}"
        hint = f"Nothing was changed. Look at it: popham draft plan {draft.name}"
        raise ConflictError("draft", problem, hint)


def begin(reading: Reading, name: str, terms: SaveTerms) -> Draft:
    """Return the draft to save into; a new one has no documents and edition 0.

    Raises:
        NotFoundError: ``not_found.draft``: somebody looked at one that is gone.
        ConflictError: ``conflict.drafts``: there are too many.
    """
    names = reading.draft_names()
    if terms.seen is not None or name in names:
        return find_draft(reading, name)
    if len(names) >= DRAFTS_MAX:
        problem = f"there are {DRAFTS_MAX} drafts already"
        raise ConflictError("drafts", problem, "Publish or discard one: popham get drafts")
    return Draft(name=name, documents={})


def merge(
    draft: Draft, texts: Mapping[str, str], state: State, terms: SaveTerms, *, actor: str, now: float
) -> tuple[Draft, list[DraftChange]]:
    """Return the draft with these documents, and what becomes of each.

    Args:
        draft: As it is.
        texts: Object → the text of its document.
        state: All objects as they are now; a document that is new in the draft rests on them.
        terms: How they are saved.
        actor: Who saves.
        now: Unix seconds.

    Raises:
        ConflictError: ``conflict.draft``.
    """
    editor = Editor(actor=actor, seen=terms.seen, theirs=terms.theirs)
    held = draft.documents
    same = {about for about, text in texts.items() if about in held and held[about].text == text}
    gone = sorted(held.keys() - texts.keys()) if terms.only else []
    editor.check(draft, [*sorted((held.keys() & texts.keys()) - same), *gone])
    documents = {about: saved for about, saved in held.items() if about not in gone}
    changes = [DraftChange(document=about, action="removed") for about in gone]
    for about, text in sorted(texts.items()):
        if about in same:
            changes.append(DraftChange(document=about, action="unchanged"))
            continue
        base = held[about].base if about in held else state.digest(about)
        documents[about] = Saved(text=text, base=base, author=actor, at=now, edition=0, force=terms.force)
        changes.append(DraftChange(document=about, action="replaced" if about in held else "added"))
    return replace(draft, documents=documents, message=terms.message or draft.message), changes


def remove(draft: Draft, objects: Iterable[str], editor: Editor) -> tuple[Draft, list[DraftChange]]:
    """Return the draft without these documents, and what became of each.

    Raises:
        NotFoundError: ``not_found.document``.
        ConflictError: ``conflict.draft``.
    """
    gone = sorted(set(objects))
    for about in gone:
        if about not in draft.documents:
            problem = f"draft {draft.name!r} has no {about!r}"
            raise NotFoundError("document", problem, nearest(about, draft.documents))
    editor.check(draft, gone)
    documents = {about: saved for about, saved in draft.documents.items() if about not in gone}
    changes = [DraftChange(document=about, action="removed") for about in gone]
    return replace(draft, documents=documents), changes


def rebase(draft: Draft, state: State) -> Draft:
    """Return the draft resting on all objects as they are now."""
    documents = {about: replace(one, base=state.digest(about)) for about, one in draft.documents.items()}
    return replace(draft, documents=documents)


def view_draft(
    draft: Draft,
    state: State,
    *,
    texts: bool = False,
    secrets: bool = False,
    marks: Mapping[str, Mapping[str, Any]] = _NO_MARKS,
    changes: Sequence[DraftChange] = (),
) -> DraftView:
    """Return what people are shown of a draft.

    Args:
        draft: The draft.
        state: All objects as they are now.
        texts: Whether its documents are shown.
        secrets: Whether with their secrets.
        marks: Object → the spec of that policy as it is now: what it calls secret is one in the draft too.
        changes: What the call did.
    """
    moved = set(find_moved(state, draft.base))
    documents = [
        DraftDocument(
            document=about,
            author=saved.author,
            at=saved.at,
            edition=saved.edition,
            moved=about in moved,
            text=(saved.text if secrets else _without_secrets(about, saved.text, marks.get(about)))
            if texts
            else "",
        )
        for about, saved in sorted(draft.documents.items())
    ]
    return DraftView(
        name=draft.name,
        author=draft.author,
        at=draft.at,
        edition=draft.edition,
        message=draft.message,
        documents=tuple(documents),
        changes=tuple(changes),
    )


def _without_secrets(about: str, text: str, mark: Mapping[str, Any] | None) -> str:
    """Return a document without what its type, or the policy as it is, calls secret; in the type's normal form."""
    if not about.startswith(("policy/", "agent/")):
        return text
    (document,) = read_documents([SourceFile(about, text)])
    spec = document.data["spec"]
    if about.startswith("agent/"):
        return write_yaml({**document.data, "spec": without_secrets(spec, HIDDEN)})
    head = {key: spec[key] for key in _HEAD if key in spec}
    body = check_policy(spec["type"], spec.without(*_HEAD))
    return write_yaml({**document.data, "spec": redact_spec({**head, **body}, marks=[mark] if mark else [])})
