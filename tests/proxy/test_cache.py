import asyncio
import contextlib

import pytest

from popham.model.names import digest
from popham.proxy.cache import ProxyCache


@contextlib.asynccontextmanager
async def running(folder, **rest):
    """Have a cache that writes; everything is written at the end."""
    cache = ProxyCache(folder, **rest)
    cache.loaded = await cache.load()
    task = asyncio.ensure_future(cache.run())
    try:
        yield cache
        await cache.settle()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_what_was_told_is_there_after_a_start(tmp_path):
    async with running(tmp_path) as cache:
        cache.put("groups", "fleet", b"1")
        cache.put("groups", "gone", b"2")
        cache.put("notes", "orders", b"3")
        cache.remove("groups", "gone")
        sha256 = cache.put_body(b"body")
    async with running(tmp_path) as cache:
        assert cache.loaded["groups"] == {"fleet": b"1"}
        assert cache.loaded["notes"] == {"orders": b"3"}
        assert cache.body(sha256) == b"body"


async def test_what_waits_to_be_written_is_written_as_it_ends(tmp_path):
    cache = ProxyCache(tmp_path)
    await cache.load()
    task = asyncio.ensure_future(cache.run())
    await asyncio.sleep(0)
    cache.put("groups", "fleet", b"1")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await ProxyCache(tmp_path).load())["groups"] == {"fleet": b"1"}


async def test_a_damaged_file_is_set_aside_and_the_rest_is_read(tmp_path):
    async with running(tmp_path) as cache:
        cache.put("groups", "fleet", b"1")
        cache.put("groups", "other", b"2")
    (tmp_path / "groups" / "fleet").write_bytes(b"x" * 40)
    async with running(tmp_path) as cache:
        assert cache.loaded["groups"] == {"other": b"2"}
        assert cache.view().damaged == 1
    assert (tmp_path / "damaged" / "groups-fleet").exists()


async def test_the_view_counts_what_is_kept_now_and_not_what_was_there_at_the_start(tmp_path):
    async with running(tmp_path) as cache:
        cache.put("agents", "one", b"1")
        cache.put("agents", "one", b"2")
        cache.put("groups", "fleet", b"1")
        cache.put_body(b"body")
        await cache.settle()
        assert {"agents": 1, "groups": 1, "bodies": 1}.items() <= cache.view().files.items()
    async with running(tmp_path) as cache:
        assert cache.view().files["agents"] == 1
        cache.remove("agents", "one")
        cache.remove("agents", "another")
        await cache.settle()
        assert cache.view().files["agents"] == 0


async def test_a_damaged_body_is_not_given_and_asked_for_again(tmp_path):
    async with running(tmp_path) as cache:
        sha256 = cache.put_body(b"body")
    path = tmp_path / "bodies" / sha256
    path.write_bytes(path.read_bytes()[:-1] + b"X")
    async with running(tmp_path) as cache:
        lost = []
        cache.on_lost = lost.append
        assert cache.has(sha256)
        assert cache.body(sha256) is None
        assert not cache.has(sha256)
        assert lost == [sha256]
        cache.put_body(b"body")
        assert cache.body(sha256) == b"body"


async def test_bodies_that_nobody_needs_go_the_least_recently_used_first(tmp_path):
    async with running(tmp_path, bodies_max=30, memory_max=0) as cache:
        needed = cache.put_body(b"needed by it")
        cache.needed = lambda: {needed}
        old, used = cache.put_body(b"old ____"), cache.put_body(b"used ___")
        assert cache.body(old) == b"old ____"
        cache.put_body(b"new ____")
        assert [cache.has(one) for one in (needed, old, used)] == [True, True, False]
        cache.needed = lambda: {needed, old, digest(b"new ____"), digest(b"newest __________")}
        cache.put_body(b"newest __________")
        assert cache.has(needed), "what bundles need stays, whatever the bound"


async def test_what_cannot_be_written_is_answered_from_memory_and_written_later(tmp_path, caplog):
    cache = ProxyCache(tmp_path, memory_max=0)
    await cache.load()
    folder = tmp_path / "groups"
    folder.rmdir()
    folder.write_bytes(b"")
    cache.put("groups", "fleet", b"1")
    sha256 = cache.put_body(b"body")
    assert not await cache._write_batch()
    assert cache.view().problem
    assert cache.body(sha256) == b"body"
    assert "could not be written" in caplog.text
    folder.unlink()
    folder.mkdir()
    assert await cache._write_batch()
    assert not cache.view().problem
    assert (await ProxyCache(tmp_path).load())["groups"] == {"fleet": b"1"}


@pytest.mark.parametrize("name", ["../x", "", "A", "x/y", ".tmp-a"])
async def test_sec_6_a_name_never_leads_out_of_the_folder(tmp_path, name):
    cache = ProxyCache(tmp_path)
    await cache.load()
    with pytest.raises(ValueError, match="no name"):
        cache.put("groups", name, b"")


async def test_a_body_is_read_beside_the_loop_once_for_all_who_want_it_also_if_one_goes_away(tmp_path):
    large = bytes(100)
    async with running(tmp_path, memory_max=10) as cache:
        sha256, other = cache.put_body(large), cache.put_body(b"other")
    assert other
    offloaded, let = [], asyncio.Event()

    async def offload(work):
        offloaded.append(work)
        await let.wait()
        return await asyncio.to_thread(work)

    cache = ProxyCache(tmp_path, memory_max=10)
    await cache.load()
    cache._offload = offload
    assert cache.at_hand(sha256) is None
    first, second = (asyncio.ensure_future(cache.read_body(sha256)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    let.set()
    assert await second == large
    assert len(offloaded) == 1
    assert cache.at_hand(sha256) == large, "a body that is read part by part is read once, whatever its size"
    assert await cache.read_body(other) == b"other"
    assert cache.at_hand(sha256) is None, "and memory is bounded"
    assert await cache.read_body("0" * 64) is None
