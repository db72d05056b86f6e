"""Two administrators on one draft, in any order: what was saved is lost only to somebody who knew it."""

import asyncio
import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from tests.manager.conftest import FakeLinks, Time, policy

from popham.errors import ConflictError, NotFoundError
from popham.manager.bundles import Bundles
from popham.manager.definitions import Terms, found_fleet
from popham.manager.drafts import SaveTerms
from popham.manager.grant import Grant, Role
from popham.manager.service import ManagerService
from popham.model.documents import SourceFile
from popham.store.memory import MemoryStore

WHO = st.sampled_from([Grant(actor=name, role=Role.ADMIN, source="192.0.2.7") for name in ("ada", "bob")])
NAME = st.sampled_from(["motd", "issue"])
CONTENT = st.sampled_from(["one", "two", "three"])
HOW = st.sampled_from(["plain", "seen", "theirs"])


class Together(RuleBasedStateMachine):
    """The draft as it should be is not computed here: only what may not happen is looked for."""

    def __init__(self, keys):
        super().__init__()
        self.loop = asyncio.Runner()
        store, self.clock = MemoryStore(), Time()
        self.service = ManagerService(
            store,
            keys=keys,
            clock=self.clock,
            rng=random.Random(7),
            on_groups_changed=lambda names: None,
            links=FakeLinks(),
        )
        self.run(store.write(lambda tx: found_fleet(tx, Bundles(keys.director), now=1.0)))
        self.known = {"ada": set(), "bob": set()}
        self.looked = {"ada": None, "bob": None}
        self.rests = {}

    def teardown(self):
        self.loop.close()

    def run(self, coroutine):
        return self.loop.run(coroutine)

    def view(self):
        reader = Grant(actor="eve", role=Role.ADMIN, source="192.0.2.7")
        try:
            return self.run(self.service.draft(reader, "spring"))
        except NotFoundError:
            return None

    def held(self):
        """Return (document, text, edition) of all that is in the draft."""
        view = self.view()
        return {(one.document, one.text, one.edition) for one in view.documents} if view else set()

    def stored(self, document):
        """Return what tells the state of a policy that is in force."""
        name = document.partition("/")[2]
        found = [view for view in self.run(self.service.policies(eve())) if view.name == name]
        return (found[0].revision, found[0].sha256) if found else None

    def attempt(self, who, coroutine, *, theirs=False):
        """Do something; whatever goes by it was known to who did it."""
        self.clock.at += 1
        before = self.held()
        try:
            self.run(coroutine)
        except (ConflictError, NotFoundError):
            assert self.held() == before
            return False
        after = self.held()
        lost = before - after
        assert theirs or lost <= self.known[who.actor]
        self.known[who.actor] |= after - before
        for document, _text, _edition in after - before:
            self.rests.setdefault(document, self.stored(document))
        for document in self.rests.keys() - {one[0] for one in after}:
            del self.rests[document]
        return True

    @rule(who=WHO, name=NAME, content=CONTENT, how=HOW, only=st.booleans())
    def save(self, who, name, content, how, only):
        seen = self.looked[who.actor] if how == "seen" else None
        terms = SaveTerms(seen=seen, theirs=how == "theirs", only=only)
        files = [SourceFile("a.yaml", policy(name=name, content=content))]
        mine = all(one.author == who.actor for one in getattr(self.view(), "documents", ()))
        done = self.attempt(
            who, self.service.save_draft(who, "spring", files, terms=terms), theirs=how == "theirs"
        )
        assert done or (how != "theirs" and (not mine or seen is not None))
        if done:
            shown = {text for document, text, _ in self.held() if document == f"policy/{name}"}
            assert any(f"content: {content}\n" in text for text in shown)

    @rule(who=WHO)
    def look(self, who):
        view = self.view()
        if view is not None:
            self.looked[who.actor] = view.edition
            self.known[who.actor] |= self.held()

    @rule(who=WHO, name=NAME, how=HOW)
    def remove(self, who, name, how):
        seen = self.looked[who.actor] if how == "seen" else None
        call = self.service.remove_from_draft(
            who, "spring", [f"policy/{name}"], seen=seen, theirs=how == "theirs"
        )
        self.attempt(who, call, theirs=how == "theirs")

    @rule(who=WHO, how=HOW)
    def discard(self, who, how):
        seen = self.looked[who.actor] if how == "seen" else None
        call = self.service.discard_draft(who, "spring", seen=seen, theirs=how == "theirs")
        self.attempt(who, call, theirs=how == "theirs")

    @rule(who=WHO, name=NAME, content=CONTENT)
    def apply(self, who, name, content):
        files = [SourceFile("a.yaml", policy(name=name, content=content))]
        self.run(self.service.apply(who, files))

    @rule(who=WHO)
    def rebase(self, who):
        if self.view() is None:
            return
        self.run(self.service.rebase_draft(who, "spring"))
        self.rests = {document: self.stored(document) for document in self.rests}

    @rule(who=WHO, planned=st.booleans())
    def publish(self, who, planned):
        before = self.held()
        seen = self.looked[who.actor] if planned else None
        moved = {document for document, was in self.rests.items() if self.stored(document) != was}
        view = self.view()
        try:
            self.run(self.service.publish_draft(who, "spring", seen=seen, terms=Terms()))
        except (ConflictError, NotFoundError):
            assert moved or view is None or (seen is not None and seen != view.edition)
            assert self.held() == before
            return
        assert not moved
        assert self.held() == set()
        assert seen is None or before <= self.known[who.actor]
        for document, text, _edition in before:
            spec = self.run(self.service.policy(eve(), document.partition("/")[2])).spec
            assert f"content: {spec['files'][0]['content']}\n" in text
        self.rests = {}


def eve():
    return Grant(actor="eve", role=Role.ADMIN, source="192.0.2.7")


def test_f_y10_two_administrators_lose_nothing_that_they_did_not_know(keys):
    run_state_machine_as_test(
        lambda: Together(keys),
        settings=settings(max_examples=60, stateful_step_count=20, deadline=None),
    )
