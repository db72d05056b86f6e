"""Nobody guesses a secret by a digest: who may not see secrets sees no digest of what holds one (SEC-53)."""

import json
import re
from dataclasses import asdict, replace

from tests.manager.conftest import ADMIN, VIEWER, group, otelcol, policy
from tests.manager.test_roster import OWN, ROW, put, with_record

from popham.model.names import canonical, digest
from popham.model.policy import Policy
from popham.model.types.files import check_files

HELD = re.compile("[0-9a-f]{64}")


def secret(pin, marked=", secret: true"):
    return policy(content=pin).replace(f"content: '{pin}'", f"content: '{pin}'{marked}")


def digests(view):
    """Return whatever has the form of a digest in a view, or in text in it."""
    return set(HELD.findall(json.dumps(asdict(view))))


def guess(pin):
    body = check_files({"files": [{"path": "/etc/popham.d/motd", "content": pin, "secret": True}]})
    return Policy(name="motd", type="files", body=body).sha256


async def test_sec_53_a_viewer_sees_no_digest_of_a_policy_with_a_secret(bench):
    await bench.apply(secret("1234"), policy("other", "public"))
    assert (await bench.service.policy(ADMIN, "motd")).sha256 == guess("1234")
    assert (await bench.service.history(ADMIN, "motd"))[0].sha256 == guess("1234")
    assert all(view.sha256 for view in await bench.service.policies(ADMIN))
    assert not digests(await bench.service.policy(VIEWER, "motd"))
    assert not digests((await bench.service.history(VIEWER, "motd"))[0])
    assert not any(map(digests, await bench.service.policies(VIEWER)))
    assert (await bench.service.policy(VIEWER, "other")).sha256
    assert (await bench.service.history(VIEWER, "other"))[0].sha256


async def test_sec_53_a_policy_that_ever_had_a_secret_shows_a_viewer_no_digest_of_any_revision(bench):
    for text in (secret("1234", ""), secret("5678"), policy(content="public")):
        await bench.apply(text)
    assert [view.sha256 for view in await bench.service.history(VIEWER, "motd")] == ["", "", ""]
    assert (await bench.service.policy(VIEWER, "motd")).sha256 == ""
    assert len({view.sha256 for view in await bench.service.history(ADMIN, "motd")}) == 3


async def test_sec_53_what_was_not_called_secret_at_first_is_hidden_in_differences_of_that_time(bench):
    for text in (secret("canary-1", ""), secret("canary-2", ""), secret("canary-3")):
        await bench.apply(text)
    for first, second in ((1, 2), (2, 3), (1, 3), (None, 1)):
        assert "canary" not in (await bench.service.difference(VIEWER, "motd", first, second)).difference
    planned = await bench.apply(secret("canary-4", ""), dry_run=True, grant=VIEWER)
    assert planned.changes[0].difference
    assert "canary-3" not in planned.changes[0].difference


async def test_sec_53_the_audit_shows_a_viewer_no_digest_and_no_chain(bench):
    await bench.apply(secret("1234"), group("paris", OWN, ", labels: {site: fr}"))
    whole, seen = [await bench.service.audit(who) for who in (ADMIN, VIEWER)]
    assert guess("1234") in whole.items[0].after
    assert whole.items[0].hash
    assert not any(digests(view) for view in seen.items)
    assert json.loads(seen.items[0].after)["revision"] == 1
    assert json.loads(seen.items[-1].after)["labels"] == {"site": "fr"}
    assert [view.object for view in seen.items] == [view.object for view in whole.items]


async def test_sec_53_an_agent_shows_a_viewer_no_content_digest(bench):
    await bench.apply(secret("1234"), group("paris", OWN))
    bundle = await bench.bundle("paris")
    await put(bench, await with_record(bench, resolved="e" * 64, applied_digest="d" * 64))
    whole, seen = [await bench.service.agent(who, "web") for who in (ADMIN, VIEWER)]
    assert {bundle.content_digest, "d" * 64, "e" * 64} <= digests(whole)
    assert not digests(seen) - {ROW.spki}
    assert (seen.sync, seen.wanted) == (whole.sync, whole.wanted)


async def test_sec_53_a_stock_agent_shows_a_viewer_no_digest_of_its_configuration(bench):
    await bench.apply(
        otelcol(), group("paris", "{inheritance: {policies: {otelcol: false}}, policies: {otelcol: col}}")
    )
    remote = json.dumps({"hash": "f" * 64, "status": "APPLIED", "error": ""})
    await put(bench, replace(ROW, kind="stock", capabilities=2, remote=remote))
    assert (await bench.service.agent(ADMIN, "web")).detail["remote"]["hash"] == "f" * 64
    assert (await bench.service.agent(VIEWER, "web")).detail["remote"] == {
        "hash": "",
        "status": "APPLIED",
        "error": "",
    }


async def test_sec_53_a_plan_rests_on_nothing_from_which_a_secret_can_be_guessed(bench):
    await bench.apply(secret("1234"))
    head = await bench.store.read(lambda tx: tx.policy("motd"))
    planned = await bench.apply(secret("0000"), dry_run=True, grant=VIEWER)
    body = {"type": "files", "revision": 1, "private_to": "", "labels": {}}
    assert planned.base["policy/motd"] == digest(canonical(body))
    assert head.sha256 not in repr(planned)
    await bench.apply(secret("5678"))
    moved = await bench.apply(secret("0000"), dry_run=True)
    assert moved.base["policy/motd"] != planned.base["policy/motd"]
