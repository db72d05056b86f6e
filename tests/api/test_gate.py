"""The gate: who passes, and how much of a body."""

import asyncio

import pytest

from popham.api import gate
from popham.api.app import create_app


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "grant.missing"),
        ("Basic YTpi", "grant.missing"),
        ("Bearer", "grant.missing"),
        ("Bearer " + "x" * 10_000, "grant.missing"),
        ("Bearer pop_x_y", "grant.unknown_token"),
        ("Bearer pop_0123456789abcdef_" + "0" * 64, "grant.unknown_token"),
    ],
)
async def test_what_is_no_token_of_ours_is_refused_with_401(rig, header, code):
    answer = await rig.client("none").get("/api/v1/agents", headers={"Authorization": header})
    assert (answer.status_code, answer.json()["code"]) == (401, code)


async def test_an_expired_token_is_refused(rig):
    rig.clock.time += 3601
    answer = await rig.client().get("/api/v1/agents")
    assert (answer.status_code, answer.json()["code"]) == (401, "grant.expired")


class Unread:
    """An ASGI receive that fails the test if a body is asked for."""

    async def __call__(self):
        raise AssertionError("the body was read")


async def request(app, *, headers=(), receive=None, path="/api/v1/apply", method="POST"):
    """Send one request to ``app`` and return status and headers of its answer."""
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": list(headers), "client": ("192.0.2.1", 1), "scheme": "https", "server": ("m", 443),
        "http_version": "1.1", "root_path": "",
    }  # fmt: skip
    sent = []

    async def send(message):
        sent.append(message)

    await app(scope, receive or Unread(), send)
    return sent[0]["status"], sent


async def test_sec_2_a_body_is_not_read_before_the_token_is_known(rig):
    assert (await request(create_app(rig.service)))[0] == 401


async def test_sec_9_a_length_that_is_too_large_is_refused_before_the_body(rig):
    bearer = (b"authorization", f"Bearer {rig.tokens['admin']}".encode())
    for length in (b"99999999999999999999", b"-1", b"1e3", str(gate.MAX_BODY + 1).encode()):
        status, _ = await request(create_app(rig.service), headers=[bearer, (b"content-length", length)])
        assert status == 413


async def test_sec_9_a_body_without_a_length_is_cut_off_at_the_limit(rig):
    bearer = (b"authorization", f"Bearer {rig.tokens['admin']}".encode())
    parts = 0

    async def receive():
        nonlocal parts
        parts += 1
        return {"type": "http.request", "body": b" " * 4 * 1024 * 1024, "more_body": True}

    status, sent = await request(create_app(rig.service), headers=[bearer], receive=receive)
    assert (status, b"wire.too_large" in sent[1]["body"]) == (413, True)
    assert parts == gate.MAX_BODY // (4 * 1024 * 1024) + 1


async def test_sec_9_a_body_that_takes_too_long_is_refused(rig):
    app = gate.Gate(create_app(rig.service), service=rig.service, body_timeout=0.01)
    bearer = (b"authorization", f"Bearer {rig.tokens['admin']}".encode())
    status, sent = await request(app, headers=[bearer], receive=asyncio.Event().wait)
    assert (status, b"wire.slow" in sent[1]["body"]) == (408, True)


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b"[" * 100_000, b'{"files": 3}', b'{"files": [], "x": 1}', b"NaN"]
)
async def test_a_body_that_is_not_what_it_should_be_is_refused_with_400(rig, body):
    answer = await rig.client().post(
        "/api/v1/apply", content=body, headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "wire.request")


async def test_a_query_out_of_range_is_refused_with_400(rig):
    for query in ("limit=0", "limit=1001", "limit=x"):
        answer = await rig.client().get(f"/api/v1/agents?{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, "wire.request")


async def test_another_method_is_405(rig):
    answer = await rig.client().put("/api/v1/agents")
    assert (answer.status_code, answer.json()["code"]) == (405, "wire.method")


async def test_every_answer_forbids_to_store_frame_and_guess_it(rig):
    for path in ("/livez", "/api/v1/groups"):
        headers = (await rig.client().get(path)).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


async def test_nobody_gets_a_websocket_here(rig):
    sent = []

    async def send(message):
        sent.append(message)

    await create_app(rig.service)({"type": "websocket", "path": "/v1/opamp"}, Unread(), send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
