"""Webhooks and mails, over the loopback interface; and places that nothing is sent to."""

import asyncio
import hmac
import json
from email import message_from_bytes
from hashlib import sha256

import msgspec
import pytest
from aiohttp import web

from popham.errors import ConfigError, LinkError
from popham.manager.alerts.channels import MAIL_LINES, make_channel, make_mail, say
from popham.manager.alerts.settings import AlertsSettings, MailRoute, WebhookRoute
from popham.net import post as module
from popham.net.post import check_target
from popham.store.data_rows import DeliveryRow

NOW = 1_800_000_000.0
SECRET = b"0123456789abcdef0123456789abcdef"


def alert(state="error", agent="web-1", **said):
    return {"uid": agent, "agent": agent, "group": "paris", "item": "disk", "state": state} | {
        "text": f"disk is {state}",
        **said,
    }


def delivery(number, *alerts, route="hook"):
    body = json.dumps({"at": NOW, "alerts": alerts})
    return DeliveryRow(number=number, route=route, at=NOW, attempts=0, body=body)


class Server:
    """Answers posts as it is told to."""

    def __init__(self):
        self.got, self.answer = [], lambda: web.Response(status=204)

    async def handle(self, request):
        self.got.append((request.method, request.path, dict(request.headers), await request.read()))
        found = self.answer()
        return await found if asyncio.iscoroutine(found) else found

    async def __aenter__(self):
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", self.handle)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.port = self.runner.addresses[0][1]
        return self

    async def __aexit__(self, *_):
        await self.runner.cleanup()


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    return str(path)


def hook(port, secret):
    return make_channel(
        WebhookRoute(name="hook", url=f"http://127.0.0.1:{port}/in?x=1", secret_file=secret), lambda: NOW
    )


async def test_f_d10_a_webhook_is_a_signed_post_with_a_number_that_stays(secret):
    async with Server() as server:
        channel = hook(server.port, secret)
        for _ in range(2):
            await channel.tell([delivery(7, alert())])
        first, second = server.got
    method, path, headers, body = first
    assert (method, path, second[3]) == ("POST", "/in", body)
    said = json.loads(body)
    assert (said["delivery"], said["at"], said["alerts"]) == ("hook-7", NOW, [alert()])
    assert headers["Popham-Delivery"] == second[2]["Popham-Delivery"] == "hook-7"
    expected = hmac.new(SECRET, b"1800000000." + body, sha256).hexdigest()
    assert headers["Popham-Signature"] == f"t=1800000000,v1={expected}"


async def test_sec_44_an_answer_leads_nowhere_and_costs_little(secret, monkeypatch):
    monkeypatch.setattr(module, "TIME", 1.0)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    released = asyncio.Event()

    async def drip():
        await released.wait()
        return web.Response()

    async def endless(body=b"x" * 10**6):
        return web.Response(status=500, body=body * 10)

    answers = {
        "a redirect": lambda: web.Response(status=307, headers={"Location": "http://127.0.0.1:1/"}),
        "answered 500": endless,
        "": drip,
        "Got more than": lambda: web.Response(headers={"X": "y" * 20_000}),
    }
    async with Server() as server:
        channel = hook(server.port, secret)
        for said, answer in answers.items():
            server.answer = answer
            with pytest.raises(LinkError) as caught:
                await channel.tell([delivery(1, alert())])
            assert caught.value.code == "link.post"
            assert said in caught.value.problem
        released.set()
        assert len(server.got) == len(answers)
        server.answer = lambda: web.Response(headers={"Set-Cookie": "a=b"})
        await channel.tell([delivery(2, alert())])
        await channel.tell([delivery(3, alert())])
        assert "Cookie" not in server.got[-1][2]
    with pytest.raises(LinkError):
        await channel.tell([delivery(4, alert())])


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/x",
        "http://alerts.example/x",
        "http://169.254.169.254/x",
        "https://ada:secret@alerts.example/",
        "https:///x",
        "https://alerts.example:0/",
        "https://alerts.example:99999/",
        "https://alerts.example/ x",
        "https://alerts.example/#x",
        "https://alerts.example/\n",
        "file:///etc/passwd",
    ],
)
def test_sec_44_places_that_are_no_receivers_are_refused(url):
    with pytest.raises(ConfigError):
        check_target(url)


def test_places_that_are():
    for url in (
        "https://alerts.example/x?y=1",
        "http://localhost:80/",
        "http://[::1]:8080/x",
        "http://127.0.0.2/",
    ):
        check_target(url)


# Mail.


class Sink:
    """A small SMTP server that keeps what it is sent; as many lines of it as there are."""

    def __init__(self):
        self.mails, self.said = [], []
        self.refuses = False

    async def talk(self, reader, writer):
        writer.write(b"220 sink\r\n")
        while line := await reader.readline():
            self.said.append(line.strip().decode())
            word = line[:4].upper()
            if word == b"DATA":
                writer.write(b"354 go\r\n")
                self.mails.append(await reader.readuntil(b"\r\n.\r\n"))
            refused = self.refuses and word == b"MAIL"
            writer.write(b"221 bye\r\n" if word == b"QUIT" else b"550 no\r\n" if refused else b"250 ok\r\n")
            if word == b"QUIT":
                break
        writer.close()


def mail_route(**said):
    said = {"server": "127.0.0.1:25", "sender": "popham@m.test", "to": ("ops@m.test",), "tls": "off"} | said
    return MailRoute(name="mail", **said)


async def test_f_d10_a_mail_has_all_alerts_of_a_minute_and_what_is_refused_is_tried_again():
    sink = Sink()
    async with await asyncio.start_server(sink.talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        channel = make_channel(mail_route(server=f"127.0.0.1:{port}"), lambda: NOW)
        rows = [
            delivery(1, alert("warning"), alert("error", "web-2")),
            delivery(2, alert("recovered"), alert("warning", "web-3", text="évidemment")),
        ]
        await channel.tell(rows)
        sink.refuses = True
        with pytest.raises(LinkError) as caught:
            await channel.tell(rows)
    assert caught.value.code == "link.mail"
    (text,) = sink.mails
    mail = message_from_bytes(text.removesuffix(b".\r\n"))
    assert (mail["Subject"], mail["From"], mail["To"]) == (
        "Popham: 1 error, 1 warning, 1 recovered", "popham@m.test", "ops@m.test",
    )  # fmt: skip
    assert mail["Message-ID"] == "<popham-mail-1-2@m.test>"
    assert mail.get_payload(decode=True).decode().split() == (
        [
            "error:",
            "web-2:",
            "disk",
            "is",
            "error",
            "warning:",
            "web-3:",
            "évidemment",
            "recovered:",
            "web-1:",
            "disk",
            "is",
            "recovered",
        ]
    )


async def test_a_server_that_offers_no_tls_gets_no_mail():
    sink = Sink()
    async with await asyncio.start_server(sink.talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        channel = make_channel(mail_route(server=f"127.0.0.1:{port}", tls="starttls"), lambda: NOW)
        with pytest.raises(LinkError):
            await channel.tell([delivery(1, alert())])
    assert sink.mails == []


def test_a_mail_names_so_many_and_nothing_makes_two_lines_or_headers_of_one():
    many = [alert("error", f"web-{number}", text="a\r\nBcc: x@y.test") for number in range(MAIL_LINES + 5)]
    mail = make_mail(mail_route(), [delivery(1, *many)], NOW)
    lines = mail.get_content().splitlines()
    assert len(lines) == MAIL_LINES + 1
    assert lines[-1] == "and 5 more: popham get alerts"
    assert mail["Bcc"] is None
    assert say(alert(note="p. 7\x1b[2J")) == "error: web-1: disk is error (p. 7 [2J)"


# Settings.


def read(text):
    return msgspec.toml.decode(text, type=AlertsSettings)


def test_routes_are_read_from_the_configuration():
    found = read("""
        skew = 30
        [[routes]]
        name = "log"
        kind = "log"
        [[routes]]
        name = "hook"
        kind = "webhook"
        url = "https://alerts.example/in"
        secret_file = "/etc/popham/hook.secret"
        at_least = "error"
        [[routes]]
        name = "ops"
        kind = "mail"
        server = "mail.example:587"
        sender = "popham@example.org"
        to = ["ops@example.org"]
        group = "paris"
    """)
    assert [route.name for route in found.routes] == ["log", "hook", "ops"]
    assert (found.routes[2].host, found.routes[2].port) == ("mail.example", 587)


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ('kind = "log"\nselector = "=="', "selector"),
        ('kind = "webhook"\nurl = "http://x.test/"\nsecret_file = "/s"', "is not this machine"),
        ('kind = "webhook"\nurl = "https://x.test/"\nsecret_file = "s"', "secret_file: write the whole path"),
        ('kind = "mail"\nserver = "x:25"\nsender = "a@b"\nto = ["a@b"]\ntls = "off"', "tls: it may be off"),
        (
            'kind = "mail"\nserver = "x:25"\nsender = "a@b"\nto = ["a@b"]\nuser = "x"',
            "user and password_file",
        ),
        ('kind = "mail"\nserver = "x:25"\nsender = "a@b\\nBcc: c@d"\nto = ["a@b"]', "sender"),
        ('kind = "mail"\nserver = "x:25"\nsender = "a@b"\nto = []', "to"),
        ('kind = "pigeon"', "pigeon"),
        ('kind = "log"\nloud = true', "loud"),
    ],
)
def test_a_route_that_cannot_be_is_refused(route, said):
    with pytest.raises(msgspec.ValidationError) as caught:
        read(f'[[routes]]\nname = "r"\n{route}')
    assert said in str(caught.value)


def test_two_routes_of_one_name_and_a_secret_that_is_none_are_refused(tmp_path):
    with pytest.raises(msgspec.ValidationError, match="same name"):
        read('routes = [{name = "r", kind = "log"}, {name = "r", kind = "log"}]')
    short = tmp_path / "short"
    short.write_bytes(b"short")
    for path in (str(short), str(tmp_path / "none")):
        with pytest.raises(ConfigError):
            hook(1, path)
