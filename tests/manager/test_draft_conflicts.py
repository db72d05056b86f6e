"""Two people on one draft, or on what it is about: one clear conflict, and nothing is lost unseen."""

import asyncio

import pytest
from tests.manager.conftest import ADMIN, VIEWER, group, otelcol, policy
from tests.manager.drafting import BOB, actions, publish, save, texts

from popham.errors import ConflictError, NotFoundError
from popham.manager.grant import Grant, Role


async def test_f_y10_what_somebody_else_saved_is_not_replaced_unseen(bench):
    await save(bench, policy(content="ada's"))
    bench.clock.at += 60
    with pytest.raises(ConflictError) as caught:
        await save(bench, otelcol(), policy(content="bob's"), grant=BOB)
    assert caught.value.code == "conflict.draft"
    assert caught.value.problem == (
        "draft 'spring' has a text which you did not save: policy/motd (by ada at 2027-01-15T08:00:00Z)"
    )
    assert "popham draft show spring" in caught.value.hint
    assert (await texts(bench)).keys() == {"policy/motd"}
    assert "ada's" in (await texts(bench))["policy/motd"]
    looked = (await bench.service.draft(BOB, "spring")).edition
    await save(bench, policy(content="ada's, again"))
    with pytest.raises(ConflictError, match=f"which came after edition {looked}: policy/motd .by ada"):
        await save(bench, policy(content="bob's"), grant=BOB, seen=looked)
    view = await save(bench, policy(content="bob's"), grant=BOB, theirs=True)
    assert actions(view) == {"policy/motd": "replaced"}
    assert view.documents[0].author == "bob"
    with pytest.raises(ConflictError, match="by bob"):
        await save(bench, policy(content="ada's"))
    assert actions(await save(bench, policy(content="ada's"), seen=view.edition)) == {
        "policy/motd": "replaced"
    }


async def test_f_y10_the_same_text_is_no_conflict_and_no_change(bench):
    first = await save(bench, policy())
    again = await save(bench, "# a comment\n" + policy(), grant=BOB)
    assert actions(again) == {"policy/motd": "unchanged"}
    assert (again.edition, again.author) == (first.edition, "ada")
    assert [row.method for row in await bench.audit()] == ["draft.save"]


async def test_f_y10_an_object_that_changed_under_a_draft_stops_it_and_says_who(bench):
    await bench.apply(policy())
    await save(bench, policy(content="ada's"), otelcol())
    bench.clock.at += 60
    await bench.apply(policy(content="bob's"), grant=BOB)
    moved = {one.document: one.moved for one in (await bench.service.drafts(VIEWER))[0].documents}
    assert moved == {"policy/col": False, "policy/motd": True}
    told = "policy/motd (by bob at 2027-01-15T08:01:00Z)"
    assert (await bench.service.plan_draft(VIEWER, "spring")).moved == (told,)
    # Saving it again does not say that what bob did was looked at.
    await save(bench, policy(content="ada's, again"))
    with pytest.raises(ConflictError) as caught:
        await publish(bench)
    assert caught.value.code == "conflict.base"
    assert caught.value.problem == f"this has changed since it came into the draft: {told}"
    assert "popham draft rebase spring" in caught.value.hint
    assert (await bench.service.policy(VIEWER, "motd")).revision == 2
    rebased = await bench.service.rebase_draft(ADMIN, "spring")
    assert rebased.moved == (told,)
    assert (await bench.service.rebase_draft(ADMIN, "spring")).moved == ()
    await publish(bench, seen=rebased.edition)
    assert (await bench.service.policy(VIEWER, "motd")).revision == 3


async def test_f_y10_an_object_that_came_or_went_under_a_draft_stops_it(bench):
    await bench.apply(otelcol())
    await save(bench, policy(), otelcol(exporter="otlp"))
    await bench.apply(policy(content="bob's"), grant=BOB)
    await bench.service.delete_policy(BOB, "col")
    with pytest.raises(ConflictError, match=r"policy/col \(by bob at .*policy/motd \(by bob"):
        await publish(bench)


async def test_f_y10_of_two_who_publish_at_once_one_does_and_the_other_is_told(bench):
    await save(bench, policy())
    both = await asyncio.gather(publish(bench), publish(bench, grant=BOB), return_exceptions=True)
    failed = [one for one in both if isinstance(one, Exception)]
    assert len(failed) == 1
    assert isinstance(failed[0], NotFoundError)
    assert failed[0].code == "not_found.draft"
    assert "it was published by" in failed[0].problem
    assert (await bench.service.policy(VIEWER, "motd")).revision == 1


async def test_f_y10_of_two_drafts_about_one_object_the_second_is_stopped(bench):
    await bench.apply(policy())
    await save(bench, policy(content="ada's"), name="one")
    await save(bench, policy(content="bob's"), name="two", grant=BOB)
    both = await asyncio.gather(publish(bench, "one"), publish(bench, "two", BOB), return_exceptions=True)
    failed = [one for one in both if isinstance(one, Exception)]
    assert [error.code for error in failed] == ["conflict.base"]
    assert len(await bench.service.drafts(VIEWER)) == 1


async def test_f_y10_a_draft_that_changed_since_the_plan_is_not_published(bench):
    await save(bench, policy())
    planned = await bench.service.plan_draft(ADMIN, "spring")
    await save(bench, otelcol(), grant=BOB)
    with pytest.raises(ConflictError, match=f"has changed since edition {planned.edition}: by bob"):
        await publish(bench, seen=planned.edition)
    planned = await bench.service.plan_draft(ADMIN, "spring")
    await bench.apply(group("paris"), grant=BOB)
    await publish(bench, seen=planned.edition, base=planned.plan.base)


async def test_f_y10_many_who_save_at_once_lose_nothing(bench):
    people = [Grant(actor=f"p{number}", role=Role.ADMIN, source="192.0.2.9") for number in range(4)]
    await asyncio.gather(
        *(save(bench, policy(name=f"motd-{one.actor}"), grant=one) for one in people),
        *(save(bench, otelcol(name=f"col-{one.actor}"), grant=one) for one in people[:1]),
    )
    assert len(await texts(bench)) == 5


async def test_f_y10_a_later_draft_of_the_same_name_is_another_one(bench):
    seen = (await save(bench, policy(content="ada's"))).edition
    await bench.service.discard_draft(ADMIN, "spring")
    with pytest.raises(NotFoundError, match="there is no draft 'spring': it was discarded by ada"):
        await save(bench, policy(content="ada's, again"), seen=seen)
    await save(bench, policy(content="bob's"), grant=BOB)
    with pytest.raises(ConflictError, match=r"policy/motd \(by bob"):
        await save(bench, policy(content="ada's, again"), seen=seen)


async def test_f_y10_nobody_takes_out_or_discards_what_they_have_not_seen(bench):
    seen = (await save(bench, policy(), otelcol())).edition
    await save(bench, policy(name="more"), grant=BOB)
    service = bench.service
    for call in (
        service.discard_draft(ADMIN, "spring"),
        service.discard_draft(ADMIN, "spring", seen=seen),
        service.remove_from_draft(ADMIN, "spring", ["policy/col", "policy/more"]),
        save(bench, policy(), only=True),
    ):
        with pytest.raises(ConflictError, match=r"policy/more \(by bob"):
            await call
    assert len(await texts(bench)) == 3
    view = await service.remove_from_draft(ADMIN, "spring", ["policy/col"])
    assert actions(view) == {"policy/col": "removed"}
    view = await save(bench, policy(content="only"), only=True, theirs=True)
    assert actions(view) == {"policy/more": "removed", "policy/motd": "replaced"}
    await service.discard_draft(BOB, "spring", seen=view.edition)
    assert await service.drafts(VIEWER) == ()


async def test_f_y10_what_is_saved_while_the_draft_is_published_is_published_or_kept(bench):
    for number in range(6):
        await save(bench, policy(content=f"ada's {number}"))
        calls = [publish(bench), save(bench, otelcol(name=f"col-{number}"), grant=BOB)]
        assert not [
            one
            for one in await asyncio.gather(*(calls if number % 2 else calls[::-1]), return_exceptions=True)
            if isinstance(one, Exception)
        ]
        stored = {view.name for view in await bench.service.policies(VIEWER)}
        drafted = {one.document for view in await bench.service.drafts(VIEWER) for one in view.documents}
        assert f"col-{number}" in stored or drafted == {f"policy/col-{number}"}
        assert "policy/motd" not in drafted
