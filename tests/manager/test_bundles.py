from dataclasses import replace

import pytest
from tests.manager.conftest import ADMIN, NOW, group, policy

from popham.errors import ConflictError, NotFoundError
from popham.manager.bundles import Bundles, newest, open_row
from popham.trust.tuf import TrustedTuf
from popham.trust.verify import Floor, open_bundle

OWN = "{inheritance: {policies: {files: false}}, policies: {files: motd}}"


async def setup(bench):
    await bench.apply(policy(), group("paris", OWN))
    return Bundles(bench.keys.director), await bench.bundle("paris")


async def test_f_y2_publishing_without_a_change_signs_nothing(bench):
    bundles, _ = await setup(bench)
    assert await bench.store.write(lambda tx: bundles.publish(tx, None, now=NOW + 7 * 86400)) == []


async def test_f_y2_rel_17_after_a_restore_versions_rise_and_serials_stay(bench):
    bundles, before = await setup(bench)
    rows = await bench.store.write(lambda tx: bundles.resign_all(tx, now=NOW + 60))
    assert sorted(row.group for row in rows) == ["fleet", "paris"]
    after = await bench.bundle("paris")
    assert (after.serial, after.content_digest) == (before.serial, before.content_digest)
    assert after.version == before.version + 60_000


async def test_versions_rise_even_if_the_clock_went_back(bench):
    bundles, before = await setup(bench)
    await bench.store.write(lambda tx: bundles.resign_all(tx, now=NOW - 10**6))
    assert (await bench.bundle("paris")).version == before.version + 1


async def test_rel_17_a_genuine_bundle_with_higher_numbers_raises_ours_above_it(bench):
    bundles, before = await setup(bench)
    held = replace(before, serial=before.serial + 5, version=before.version + 10**9, prev="ab" * 32)
    row = await bench.store.write(lambda tx: bundles.raise_above(tx, "paris", held, now=NOW))
    raised = open_row(row)
    assert (raised.serial, raised.version) == (held.serial + 1, held.version + 1)
    assert raised.locations == before.locations
    tuf = TrustedTuf.from_bytes(bench.keys.root, bench.keys.targets)
    open_bundle(row.envelope, tuf=tuf, tenant="default", group="paris", floor=Floor(held.version, "ab" * 32))
    # Nothing more to do once it is above, and the next change counts on from there.
    assert await bench.store.write(lambda tx: bundles.raise_above(tx, "paris", held, now=NOW)) is None
    await bench.apply(policy(content="changed"))
    assert (await bench.serials())["paris"] == held.serial + 2


async def test_an_agent_with_the_same_content_under_a_higher_version_needs_no_new_serial(bench):
    bundles, before = await setup(bench)
    held = replace(before, version=before.version + 10**9)
    row = await bench.store.write(lambda tx: bundles.raise_above(tx, "paris", held, now=NOW))
    assert (row.serial, row.version) == (before.serial, held.version + 1)


async def test_our_own_newest_bundle_raises_nothing(bench):
    bundles, before = await setup(bench)
    assert await bench.store.write(lambda tx: bundles.raise_above(tx, "paris", before, now=NOW)) is None


async def test_other_content_under_our_own_serial_is_passed(bench):
    bundles, before = await setup(bench)
    held = replace(before, prev="ab" * 32, version=before.version - 5)
    row = await bench.store.write(lambda tx: bundles.raise_above(tx, "paris", held, now=NOW))
    assert (row.serial, row.version) == (before.serial + 1, before.version + 1)


async def test_a_bundle_of_another_group_raises_nothing(bench):
    bundles, before = await setup(bench)
    with pytest.raises(NotFoundError):
        await bench.store.write(lambda tx: bundles.raise_above(tx, "fleet", before, now=NOW))


async def test_a_version_that_another_process_took_is_tried_again(bench):
    await setup(bench)
    calls = 0
    inner = bench.store.write

    async def contested(work):
        nonlocal calls
        calls += 1
        if calls < 3:
            raise ConflictError("bundle", "taken")
        return await inner(work)

    bench.store.write = contested
    await bench.apply(policy(content="changed"))
    assert (calls, (await bench.serials())["paris"]) == (3, 2)


async def test_other_conflicts_and_lasting_ones_reach_the_caller(bench):
    for code, attempts in (("revision", 1), ("bundle", 5)):
        tried = []

        async def refused(work, code=code, tried=tried):
            tried.append(code)
            raise ConflictError(code, "taken")

        bench.store.write = refused
        with pytest.raises(ConflictError):
            await bench.apply(group("x"))
        assert len(tried) == attempts


async def test_f_y2_a_group_that_was_deleted_counts_on_when_it_comes_back(bench):
    bundles, before = await setup(bench)
    await bench.service.delete_group(ADMIN, "paris")
    assert list(await bench.store.read(newest)) == ["fleet"]
    assert [row.group for row in await bench.store.write(lambda tx: bundles.resign_all(tx, now=NOW))] == [
        "fleet"
    ]
    await bench.apply(group("paris"))
    after = await bench.bundle("paris")
    assert after.serial == before.serial + 1
    assert after.version > before.version
