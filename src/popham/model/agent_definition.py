"""``kind: Agent``: where an agent that is visited is found, and how to get there.

Rules:

1. The address of a definition wins over whatever the agent says of itself: a machine with several addresses is
   visited where its operator says.
2. No two definitions name the same place (address, port and prefix): one service would be two agents.
3. Passwords stand in what is kept and in what an admin exports, and nowhere else: not in views, differences,
   errors, logs or the audit.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal
from urllib.parse import quote, urlsplit

from popham.errors import DefinitionError
from popham.model.keys import check_keys
from popham.model.lines import line_of
from popham.model.names import check_name, nearest, show

PORT_DEFAULT: Final = 23440
"""The port of an agent's service. Source: Systemwalker SQC."""
AGENT_DEFINITIONS_MAX: Final = 200_000
"""Definitions of one fleet."""
PREFIX_MAX: Final = 256
HOST_MAX: Final = 253
"""Characters of a host name. Source: RFC 1035, 2.3.4."""
CA_MAX: Final = 64 * 1024
"""Characters of certificates in PEM."""
PASSWORD_MAX: Final = 512
SECRETS: Final = ("http_proxy_password", "password")
KEYS: Final = (
    "address",
    "port",
    "prefix",
    "tls",
    "ca",
    "http_proxy",
    "http_proxy_password",
    "password",
    "uid",
    "proxy",
)
"""Keys of the spec, in the order in which they are written."""
SERVICE_PATH: Final = "/v1/visit"

_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+")
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"
_DER_SEQUENCE: Final = 0x30


class Tls(StrEnum):
    """How the connection to a service is protected, and who must stand at its other end."""

    AGENT = "agent"
    """The agent's own certificate, of the fleet's CA."""
    WEB = "web"
    """A web server's, whose name is the address."""
    OFF = "off"
    """Plain HTTP; requests and answers are signed in any case."""


@dataclass(frozen=True, slots=True)
class VisitPlace:
    """One place to visit, as the dialling side takes it; the same fields as its own class.

    Attributes:
        url: ``https://host:port/prefix``, without what every service has behind it.
        tls: ``agent``, ``web`` or ``off``.
        http_proxy: ``http://user:password@host:port`` of a web proxy; empty for none.
        password: ``user:password`` of the web server; empty for none.
        ca: Certificates in PEM that the web server is verified with; empty for the machine's.
    """

    url: str
    tls: Literal["agent", "web", "off"]
    http_proxy: str = ""
    password: str = ""
    ca: str = ""

    def __repr__(self) -> str:
        """Return it without its passwords."""
        return f"VisitPlace(url={self.url!r}, tls={self.tls!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDefinition:
    """Where one agent is visited.

    Attributes:
        name: What the agent is called; it is bound to that one.
        address: Host name, IPv4 address, or IPv6 address without brackets.
        prefix: What stands before ``/v1/visit``, such as ``/SQC``; empty for nothing.
        ca: Certificates in PEM; with ``web`` only.
        http_proxy: ``http://host:port`` of a web proxy; empty for none.
        http_proxy_password, password: ``user:password``, for the web proxy and for the web server.
        uid: Of the one agent that is meant; empty for the one of that name.
        proxy: The Proxy Manager that visits it, by its definition's name; empty for the Manager.
    """

    name: str
    address: str
    port: int = PORT_DEFAULT
    prefix: str = ""
    tls: Tls = Tls.AGENT
    ca: str = ""
    http_proxy: str = ""
    http_proxy_password: str = ""
    password: str = ""
    uid: str = ""
    proxy: str = ""

    def __repr__(self) -> str:
        """Return it without its passwords."""
        return f"AgentDefinition(name={self.name!r}, url={self.url!r})"

    @property
    def url(self) -> str:
        """What is dialled, without ``/v1/visit``."""
        scheme = "http" if self.tls is Tls.OFF else "https"
        return f"{scheme}://{self.where}"

    @property
    def where(self) -> str:
        """The place, ``host:port/prefix``, which no other definition has."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}{self.prefix}"

    def place(self) -> VisitPlace:
        """Return where to go, with the passwords that are needed on the way."""
        proxy = self.http_proxy
        if proxy and self.http_proxy_password:
            user, _, password = self.http_proxy_password.partition(":")
            proxy = proxy.replace("://", f"://{quote(user, safe='')}:{quote(password, safe='')}@", 1)
        return VisitPlace(self.url, self.tls.value, proxy, self.password, self.ca)

    def as_dict(self) -> dict[str, Any]:
        """Return the spec as it is kept: what differs from the defaults, passwords included."""
        found: dict[str, Any] = {"address": self.address}
        if self.port != PORT_DEFAULT:
            found["port"] = self.port
        if self.tls is not Tls.AGENT:
            found["tls"] = str(self.tls)
        rest = {key: getattr(self, key) for key in KEYS if key not in {"address", "port", "tls"}}
        found |= {key: value for key, value in rest.items() if value}
        return {key: found[key] for key in KEYS if key in found}

    @classmethod
    def from_dict(cls, name: str, data: Mapping[str, Any]) -> AgentDefinition:
        """Return the definition that is kept; keys that are none of its own are left out."""
        held = {key: data[key] for key in KEYS if key in data}
        return cls(name=name, **held | {"tls": Tls(held.get("tls", Tls.AGENT))})


def without_secrets(spec: Mapping[str, Any], instead: str) -> dict[str, Any]:
    """Return a spec with every password replaced by ``instead``."""
    return {key: instead if key in SECRETS and value else value for key, value in spec.items()}


def read_agent_definition(name: str, spec: Mapping[str, Any]) -> AgentDefinition:
    """Return what the ``spec`` of ``kind: Agent`` says.

    Raises:
        DefinitionError: A key or value is wrong, or two do not go together; a password is never repeated.
    """
    check_keys(spec, KEYS, "the spec of an agent")
    if spec.get("address") is None:
        problem = f"the agent {name!r} has no address"
        raise _wrong(spec, "address", problem, "Write 'address:', a host name or an IP address")
    found = AgentDefinition(
        name=name,
        address=_read(spec, "address", read_address),
        port=_read(spec, "port", read_port) or PORT_DEFAULT,
        prefix=_read(spec, "prefix", read_prefix),
        tls=_tls(spec),
        ca=_read(spec, "ca", _certificates),
        http_proxy=_read(spec, "http_proxy", _http_proxy),
        http_proxy_password=_read(spec, "http_proxy_password", _password),
        password=_read(spec, "password", _password),
        uid=_read(spec, "uid", _uid),
        proxy=_read(spec, "proxy", _proxy),
    )
    if found.ca and found.tls is not Tls.WEB:
        problem = "ca: certificates are only asked for with 'tls: web'"
        raise _wrong(spec, "ca", problem, "Leave 'ca' out: the agent's own certificate is of the fleet's CA")
    if found.http_proxy_password and not found.http_proxy:
        problem = "http_proxy_password: there is no http_proxy"
        raise _wrong(
            spec, "http_proxy_password", problem, "Name the web proxy: 'http_proxy: http://proxy:3128'"
        )
    return found


def read_address(value: object) -> str:
    """Return a host name in lower case, or an IP address in its one form, without brackets.

    Raises:
        ValueError: It is neither; with the problem and the hint.
    """
    hint = "Write a host name or an IP address: web1.example, 192.0.2.7, 2001:db8::7"
    if isinstance(value, str) and "@" in value:
        # It may be a password, which is not repeated.
        raise ValueError("this is no host name: nothing stands before it with '@'", hint)
    bad = ValueError(f"{show(value)} is no host name and no IP address", hint)
    if not isinstance(value, str):
        raise bad
    text = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    if ":" in text or value != text:
        return _ip(text, bad)
    host = text.removesuffix(".").lower()
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ip(text, bad)
    if len(host) > HOST_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        raise bad
    return host


def _ip(text: str, bad: ValueError) -> str:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise bad from None
    if "%" in text:
        hint = "Write an address that is valid on every interface"
        raise ValueError(f"{show(text)} names an interface of one machine", hint)
    if found.is_unspecified or found.is_multicast:
        raise ValueError(f"{show(text)} is no address of one machine", bad.args[1])
    return str(found)


def read_port(value: object) -> int:
    """Return a port; raises ValueError with the problem and the hint."""
    if type(value) is not int or not 1 <= value <= 65535:
        hint = f"Write 1 to 65535, or leave it out for {PORT_DEFAULT}"
        raise ValueError(f"{show(value)} is no port", hint)
    return value


def read_prefix(value: object) -> str:
    """Return a prefix that begins with ``/`` and does not end with it, or nothing.

    Raises:
        ValueError: It is none; with the problem and the hint.
    """
    hint = "Write the alias of the web server: '/SQC'"
    if not isinstance(value, str) or len(value) > PREFIX_MAX:
        raise ValueError(f"{show(value)} is no prefix", hint)
    text = value.strip("/")
    if not text:
        return ""
    if f"/{text}".endswith(SERVICE_PATH):
        problem = f"{show(value)} already has {SERVICE_PATH}, which every agent's service has"
        raise ValueError(problem, f"Write only what stands before {SERVICE_PATH}, or nothing")
    parts = text.split("/")
    if any(not _SEGMENT.fullmatch(part) or part in {".", ".."} for part in parts):
        raise ValueError(f"{show(value)} is no prefix", hint)
    return f"/{text}"


def _tls(spec: Mapping[str, Any]) -> Tls:
    value = spec.get("tls", "agent")
    known = [str(word) for word in Tls]
    if not isinstance(value, str) or value not in known:
        problem = f"tls: {show(value)} is none of {', '.join(known)}"
        raise _wrong(spec, "tls", problem, nearest(str(value), known))
    return Tls(value)


def read_http_proxy(host: object, port: object) -> str:
    """Return the URL of a web proxy; raises ValueError with the problem and the hint."""
    address = read_address(host)
    return f"http://{f'[{address}]' if ':' in address else address}:{read_port(port)}"


def _http_proxy(value: object) -> str:
    hint = "Write its host and port: 'http_proxy: http://proxy.example:3128'"
    # What may hold a password is not repeated.
    bad = ValueError("this is no URL of a web proxy", hint)
    if not isinstance(value, str) or len(value) > HOST_MAX + 32:
        raise bad
    if "@" in value:
        raise ValueError("user and password do not belong here", "Write them as 'http_proxy_password'")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise bad from None
    if parts.scheme == "https":
        raise ValueError("a web proxy is spoken to in plain HTTP", hint)
    if parts.scheme != "http" or not host or port is None or parts.path not in {"", "/"}:
        raise bad
    if parts.query or parts.fragment or not value.isprintable() or " " in value:
        raise bad
    try:
        return read_http_proxy(host, port)
    except ValueError:
        raise bad from None


def _password(value: object) -> str:
    hint = "Write 'user:password', in quotes"
    if not isinstance(value, str) or len(value) > PASSWORD_MAX or not value.isprintable():
        raise ValueError("this is no user and password", hint)
    user, colon, _ = value.partition(":")
    if not user or not colon:
        raise ValueError("this is no user and password", hint)
    return value


def _certificates(value: object) -> str:
    hint = "Paste the certificates of the CA in PEM: 'ca: |' and the lines below it"
    if not isinstance(value, str) or len(value) > CA_MAX:
        raise ValueError("this is no certificate in PEM", hint)
    if "PRIVATE KEY" in value:
        raise ValueError("a private key does not belong here", hint)
    _, *blocks = value.split(_BEGIN)
    if not blocks or not all(map(_is_certificate, blocks)):
        raise ValueError("this is no certificate in PEM", hint)
    return value.strip() + "\n"


def _is_certificate(block: str) -> bool:
    """Return whether a text begins with what stands between the two marks of a certificate, and its second mark."""
    body, mark, rest = block.partition(_END)
    try:
        der = base64.b64decode("".join(body.split()), validate=True)
    except ValueError:
        return False
    return bool(mark) and "-----" not in rest and len(der) > 1 and der[0] == _DER_SEQUENCE


def _uid(value: object) -> str:
    try:
        found = str(uuid.UUID(str(value)))
    except ValueError:
        found = ""
    if not isinstance(value, str) or found != value.lower():
        raise ValueError(f"{show(value)} is no uid of an agent", "See 'popham get agents -o wide'")
    return found


def _proxy(value: object) -> str:
    try:
        return check_name(value, "proxy")
    except DefinitionError as error:
        raise ValueError(error.problem, "Write the name of a definition of 'kind: Proxy'") from None


def _read(spec: Mapping[str, Any], key: str, read: Any) -> Any:
    """Return a value that is written and not null, else an empty text; its errors get key, hint and line."""
    value = spec.get(key)
    if value is None:
        return ""
    try:
        return read(value)
    except ValueError as error:
        problem, hint = error.args
        raise _wrong(spec, key, f"{key}: {problem}", hint) from None


def _wrong(spec: Mapping[str, Any], key: str, problem: str, hint: str) -> DefinitionError:
    return DefinitionError("agent", problem, hint, line=line_of(spec, key))
