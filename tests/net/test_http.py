"""Bodies and encodings, without a socket."""

import contextlib
import gzip
import tracemalloc
import uuid
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import ConflictError, LinkError, NotFoundError, PophamError, WireError
from popham.net import http
from popham.net.http import accepts_gzip, deflate, failed, inflate, uid_of
from popham.net.seam import Limits


@contextmanager
def probed_at(probe, *, ratio):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http, "GZIP_PROBE", probe)
        patch.setattr(http, "GZIP_RATIO", ratio)
        yield


@given(st.binary(max_size=3000))
def test_rel_13_any_bytes_are_inflated_or_refused(data):
    limits = Limits(message=1000)
    with contextlib.suppress(WireError):
        assert len(inflate(data, limits)) <= 1000
    if len(data) <= 1000:
        assert inflate(gzip.compress(data), limits) == data
    else:
        with pytest.raises(WireError, match="larger than 1000 bytes"):
            inflate(gzip.compress(data), limits)


@given(st.binary(max_size=3000), st.integers(1, 40), st.integers(10, 4000))
def test_rel_13_a_body_is_the_same_however_early_it_is_looked_at(data, times, probe):
    limits, body = Limits(message=1 << 20), data * times
    with probed_at(probe, ratio=1 << 20):
        assert inflate(gzip.compress(body), limits) == body
        limits = Limits(message=max(1, len(body) - 1))
        if len(body) > 1:
            with pytest.raises(WireError, match="larger than"):
                inflate(gzip.compress(body), limits)


def test_sec_9_a_bomb_is_refused_before_it_has_grown():
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    tracemalloc.start()
    try:
        with pytest.raises(WireError, match="200 to 1") as found:
            inflate(bomb, Limits(message=64 * 1024 * 1024))
        assert tracemalloc.get_traced_memory()[1] < 4 * http.GZIP_PROBE
    finally:
        tracemalloc.stop()
    assert found.value.code == "wire.too_large"


def test_sec_9_what_compresses_well_and_is_small_is_no_bomb():
    data = bytes(http.GZIP_PROBE)
    assert inflate(gzip.compress(data), Limits()) == data
    telling = b"".join(b"component.%d.health = true\n" % number for number in range(100_000))
    assert inflate(gzip.compress(telling), Limits()) == telling


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(b"a", mtime=0) * 2,
        gzip.compress(b"a", mtime=0) + b"x",
        gzip.compress(b"a", mtime=0)[:-1],
        b"",
    ],
)
def test_only_one_whole_member_is_taken(data):
    with pytest.raises(WireError, match="one whole gzip member"):
        inflate(data, Limits())


@pytest.mark.parametrize("size", [10, 100_000])
async def test_deflate_is_gzip(size):
    assert gzip.decompress(await deflate(b"x" * size)) == b"x" * size


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("identity", False),
        ("br, x-gzip", True),
    ],
)
def test_ops_12_gzip_needs_to_be_asked_for(header, expected):
    assert accepts_gzip({"Accept-Encoding": header} if header else {}) is expected


def test_the_instance_uid_is_sixteen_bytes_or_nothing():
    uid = uuid.uuid4()
    assert uid_of({"OpAMP-Instance-UID": str(uid)}) == uid.bytes
    assert uid_of({"OpAMP-Instance-UID": "01J8ZZZZZZZZZZZZZZZZZZZZZZ"}) == b""
    assert uid_of({}) == b""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (WireError("too_large", "x"), 413),
        (WireError("other", "x"), 400),
        (NotFoundError("x", "x"), 404),
        (ConflictError("x", "x"), 409),
        (LinkError("busy", "x", retry_after=9.0), 503),
        (PophamError("x", "x"), 500),
    ],
)
def test_every_family_of_errors_has_its_status(error, status):
    response = failed(error)
    assert response.status == status
    assert response.headers.get("Retry-After") == ("9" if status == 503 else None)
