"""A bridge for web servers that know CGI only: from them to the service of the agent that runs on this machine.

One process for each request, so it imports next to nothing and stands alone: ``python -S -E cgi.py`` runs it as
``popham agent cgi`` does.  It believes nothing and decides nothing; what it carries is signed end to end.

Rules:

1. Only exchanges pass: CGI cannot hold a link.
2. Everything is bounded: 4 MiB either way, 30 s in all.
3. Whatever fails is an answer of its own, problem+json, so that the visitor can tell it from a dead machine.

Source: RFC 3875 for names of variables.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Environ = Mapping[str, str]

SOCKET = "/run/popham/visit.sock"
"""Where the service listens, unless ``--socket`` or POPHAM_SERVICE_SOCKET says otherwise."""
VARIABLE = "POPHAM_SERVICE_SOCKET"
PATH = "/v1/visit"
LIMIT = 4 * 1024 * 1024
"""Bytes of a body, either way. Source: guarantees SEC-9."""
HEAD = 16 * 1024
"""Bytes of an answer's head."""
TIME = 30.0
"""Seconds that all of it may take."""
CARRIED = (
    "CONTENT_TYPE",
    "HTTP_ACCEPT_ENCODING",
    "HTTP_CONTENT_DIGEST",
    "HTTP_CONTENT_ENCODING",
    "HTTP_POPHAM_AUDIENCE",
    "HTTP_POPHAM_OPERATION",
    "HTTP_POPHAM_VISITOR",
    "HTTP_SIGNATURE",
    "HTTP_SIGNATURE_INPUT",
)
"""Variables whose headers the service is told; what else a web server knows stays here."""
_HOP = (b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"date", b"server")


class Problem(Exception):  # noqa: N818  # an answer, no fault
    """Raised to have it answered: status, code, and a sentence that needs no quoting in JSON."""

    def __init__(self, status: int, code: str, detail: str, hint: str) -> None:
        self.status, self.code, self.detail, self.hint = status, code, detail, hint
        super().__init__(detail)


def run(arguments: list[str]) -> int:
    """Answer one request, on standard output; return the exit code."""
    path = os.environ.get(VARIABLE) or SOCKET
    if len(arguments) == 2 and arguments[0] == "--socket":
        path = arguments[1]
    elif arguments:
        sys.stderr.write("usage: popham agent cgi [--socket PATH]\n")
        return 64
    if "REQUEST_METHOD" not in os.environ:
        sys.stderr.write("popham agent cgi is started by a web server, for each request; see its examples\n")
        return 64
    end = time.monotonic() + TIME
    try:
        answer = carry(os.environ, 0, path, end)
    except Problem as problem:
        answer = show(problem)
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
    return 0


def carry(environ: Environ, source: int, path: str, end: float) -> bytes:
    """Return the service's answer, in CGI's form, to what ``environ`` and the descriptor ``source`` bring."""
    target = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    if "websocket" in environ.get("HTTP_UPGRADE", "").lower():
        hint = "Let the web server pass requests on (reverse proxy), or give the agent a pull preset"
        raise Problem(501, "visit.cgi", "A link cannot be held through CGI", hint)
    if not target.endswith(PATH) or environ["REQUEST_METHOD"] != "POST":
        hint = "Visits are POST to a path that ends in /v1/visit"
        raise Problem(404, "visit.not_found", "Nothing of a Popham agent is here", hint)
    data = read_body(environ, source, end)
    head = make_head(environ, len(data))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.settimeout(max(0.1, end - time.monotonic()))
            asking.connect(path)
            asking.sendall(head + data)
            answer = read_answer(asking, end)
        except TimeoutError:
            detail = f"The agent's service at {path} did not answer within {TIME:g} s"
            raise Problem(504, "visit.off", detail, "See 'popham agent service status' there") from None
        except OSError as error:
            detail = f"The agent's service at {path} does not answer: {error.strerror or 'no such path'}"
            hint = "Name that socket under [service] in agent.toml, run 'popham agent service start'"
            if isinstance(error, PermissionError):
                hint = "Set socket_group under [service] in agent.toml to the web server's group"
            raise Problem(502, "visit.off", detail, hint) from None
    return turn(answer)


def read_body(environ: Environ, source: int, end: float) -> bytes:
    """Return the request's body."""
    text = environ.get("CONTENT_LENGTH", "")
    if text and not (text.isascii() and text.isdigit()):
        raise Problem(400, "visit.failed", "The web server gave no usable CONTENT_LENGTH", "See its log")
    too_large = Problem(
        413, "visit.too_large", f"The request has more than {LIMIT} bytes", "Send less at a time"
    )
    length = int(text[:20]) if text else LIMIT + 1
    if text and length > LIMIT:
        raise too_large  # before its sender may keep this process for as long as it takes
    # Without a length, as where it came in chunks, the end of the input is the end of the body.
    wanted = min(length, LIMIT + 1) if text or "HTTP_TRANSFER_ENCODING" in environ else 0
    data = b""
    while len(data) < wanted:
        if not select.select([source], [], [], max(0.0, end - time.monotonic()))[0]:
            raise Problem(408, "visit.slow", f"The request took longer than {TIME:g} s", "Send it again")
        part = os.read(source, min(65536, wanted - len(data)))
        if not part:
            break
        data += part
    if len(data) > LIMIT:
        raise too_large
    if text and len(data) < length:
        raise Problem(400, "visit.failed", "The request ended before its length", "Send it again")
    return data


def make_head(environ: Environ, length: int) -> bytes:
    """Return the head of the request to the service."""
    query = environ.get("QUERY_STRING", "")
    lines = [f"POST {PATH}{'?' + query if query else ''} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines.append(f"Content-Length: {length}")
    for name in CARRIED:
        if value := environ.get(name, ""):
            header = name.removeprefix("HTTP_").replace("_", "-").title()
            lines.append(f"{header}: {value}")
    if any(character in line for line in lines for character in "\r\n\0"):
        raise Problem(400, "visit.failed", "A header of the request holds a line break", "Send it again")
    if any(character in query for character in " \t"):
        raise Problem(400, "visit.failed", "The query of the request holds a space", "Send it again")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


def read_answer(asking: socket.socket, end: float) -> bytes:
    """Return all that comes until the service closes."""
    parts: list[bytes] = []
    size = 0
    while True:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        asking.settimeout(left)
        part = asking.recv(65536)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > LIMIT + HEAD:
            raise Problem(
                502, "visit.too_large", f"The agent answered more than {LIMIT} bytes", "See its log"
            )


def turn(answer: bytes) -> bytes:
    """Return an answer of HTTP in CGI's form."""
    head, gap, body = answer.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    words = lines[0].split(b" ", 2)
    usable = bool(gap) and len(words) > 1 and words[0].startswith(b"HTTP/1.") and len(words[1]) == 3
    lengths = [
        line.partition(b":")[2].strip() for line in lines if line.lower().startswith(b"content-length:")
    ]
    if not usable or (lengths and lengths[0] != str(len(body)).encode()):
        raise Problem(
            502, "visit.off", "What answers at the agent's socket is cut short, or no service", "See its log"
        )
    reason = words[2] if len(words) > 2 else b"Popham"
    kept = [line for line in lines[1:] if line.partition(b":")[0].strip().lower() not in _HOP]
    status = b"Status: " + words[1] + b" " + reason
    # The web server knows its own length; 204 has none.
    length = [] if words[1] == b"204" else [b"Content-Length: " + str(len(body)).encode()]
    return b"\r\n".join([status, *kept, *length]) + b"\r\n\r\n" + body


def show(problem: Problem) -> bytes:
    """Return a problem in CGI's form."""

    def quote(text: str) -> str:
        plain = text.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if " " <= c <= "~" else f"\\u{min(ord(c), 0xFFFD):04x}" for c in plain) + '"'

    fields = {"code": problem.code, "detail": problem.detail, "hint": problem.hint}
    body = "{" + ",".join(f"{quote(key)}:{quote(value)}" for key, value in fields.items()) + "}"
    return (
        f"Status: {problem.status} Popham\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
