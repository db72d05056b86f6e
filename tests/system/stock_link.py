"""A stock agent that holds a link, and behaves as agents built on opamp-go do.

After a reconnection it says next to nothing, UNAVAILABLE makes no difference to it, and before it goes it
says so and closes.  It lives in the process of a test.
"""

import ssl
import threading
import uuid
from contextlib import ExitStack, contextmanager
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from popham.opamp.schema.opamp.v1.opamp_pb2 import (
    AgentDescription,
    AgentDisconnect,
    AgentToServer,
    AnyValue,
    EffectiveConfig,
    KeyValue,
    RemoteConfigStatus,
    RemoteConfigStatuses,
    ServerErrorResponse,
    ServerErrorResponseType,
    ServerToAgent,
)
from popham.opamp.wire import REPORT_FULL_STATE
from popham.testing.demo import wait_until

CAPABILITIES = 0x1 | 0x2 | 0x4 | 0x40 | 0x80 | 0x100 | 0x1000 | 0x2000
PATIENCE = 60.0
"""Seconds until a link is open."""
HEADLESS = ServerToAgent(error_response=ServerErrorResponse(error_message="without the header"))
UNAVAILABLE = ServerErrorResponseType.ServerErrorResponseType_Unavailable


class LinkAgent:
    """One stock agent with a held link.

    Attributes:
        heard: Every ServerToAgent so far.
        configs: Every offer it applied.
        closed: Code and reason with which the link ended; None while it is open.
    """

    def __init__(self, bridge, token, name):
        self._url = bridge.url.replace("https://", "wss://")
        self._context = ssl.create_default_context(cafile=bridge.ca)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._lock = threading.Lock()
        self._link = ExitStack()
        self._socket = None
        self._number = -1
        self._status = None
        self.name = name
        self.key = uuid.uuid4()
        self.heard = []
        self.configs = []
        self.closed = None

    @property
    def uid(self):
        return str(self.key)

    # The link.

    def open(self):
        """Open the link, and hear what comes. Raises InvalidStatus where the upgrade is refused."""
        self._link.close()
        opening = connect(
            self._url,
            ssl=self._context,
            additional_headers=self._headers,
            compression=None,
            proxy=None,
            open_timeout=PATIENCE,
            close_timeout=2,
        )
        self._socket = self._link.enter_context(opening)
        self.closed = None
        listener = threading.Thread(target=self._listen, args=(self._socket,))
        listener.start()
        self._link.callback(listener.join)
        self._link.callback(self._socket.close)
        return self

    def start(self):
        """Open the link, say everything as at the first time, and have it answered."""
        self.open()
        self.say(**self._everything())
        assert wait_until(lambda: self.heard, "the first answer", required=False)
        return self

    def cut(self):
        """Lose the connection without a word."""
        self._socket.socket.close()
        self._link.close()

    def leave(self):
        """Say goodbye, close, and return the code that came back."""
        self.say(agent_disconnect=AgentDisconnect())
        self._link.close()
        return self.closed[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._link.close()

    # What it says.

    def say(self, **parts):
        """Send one message: uid, number and capabilities, and whatever is new."""
        with self._lock:
            self._number += 1
            made = AgentToServer(
                instance_uid=self.key.bytes,
                sequence_num=self._number,
                capabilities=CAPABILITIES,
                **parts,
            )
            self._socket.send(b"\0" + made.SerializeToString())

    def lose(self):
        """Count a message that was dropped on its way."""
        with self._lock:
            self._number += 1

    def _everything(self):
        pair = KeyValue(key="host.name", value=AnyValue(string_value=self.name))
        whole = {"agent_description": AgentDescription(identifying_attributes=[pair])}
        whole["effective_config"] = EffectiveConfig()
        return whole | ({"remote_config_status": self._status} if self._status else {})

    def export(self, settings):
        """Send telemetry with nothing in it to where it was told; return the status of the answer."""
        headers = {header.key: header.value for header in settings.headers.headers}
        headers["Content-Type"] = "application/x-protobuf"
        asked = Request(settings.destination_endpoint, data=b"", headers=headers, method="POST")
        opener = build_opener(ProxyHandler({}), HTTPSHandler(context=self._context))
        with opener.open(asked, timeout=PATIENCE) as answer:
            return answer.status

    # What it hears.

    def _listen(self, socket):
        try:
            while True:
                self._obey(socket.recv())
        except (ConnectionClosed, OSError):
            self.closed = socket.close_code, socket.close_reason

    def _obey(self, data):
        message = ServerToAgent.FromString(data[1:]) if data[:1] == b"\0" else HEADLESS
        if message.HasField("remote_config"):
            self.configs.append(message.remote_config)
            self._status = RemoteConfigStatus(
                last_remote_config_hash=message.remote_config.config_hash,
                status=RemoteConfigStatuses.RemoteConfigStatuses_APPLIED,
            )
            self.say(remote_config_status=self._status)
        if message.flags & REPORT_FULL_STATE:
            self.say(**self._everything())
        # What an error asks for is not looked at: neither pause nor return.
        self.heard.append(message)

    def quiet(self, beats=3):
        """Say heartbeats until some were answered with nothing new; return what else was heard before."""
        begin = len(self.heard)
        while len(self.heard) < begin + beats or not all(map(_bare, self.heard[-beats:])):
            before = len(self.heard)
            self.say()
            assert wait_until(lambda before=before: len(self.heard) > before, "an answer", required=False), (
                self.heard
            )
        return [message for message in self.heard[begin:] if not _bare(message)]

    @property
    def errors(self):
        return [m.error_response.type for m in self.heard if m.HasField("error_response")]


def _bare(message):
    return {found.name for found, _ in message.ListFields()} <= {"instance_uid", "capabilities"}


@contextmanager
def link_agent(bridge, group, name, token=None):
    """Make an agent of a group; its link is closed at the end."""
    with LinkAgent(bridge, token or bridge.token(bridge.group(group)), name) as agent:
        yield agent
