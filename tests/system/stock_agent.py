"""A stock agent as a process of its own: the OpAMP client of OpenTelemetry Python, and an application that logs.

It cannot live in the process of a test: its messages and ours have the same
names in protobuf's default pool.

What happens is written to standard output, one JSON object a line; lines on
standard input are orders: ``{"answer": "FAILED", "error": TEXT}`` sets what is
said to the next configurations, ``{"state": true}`` sends the full state, and
``{"goodbye": true}``, like the end of the input, ends the process.
"""

import argparse
import json
import sys
import threading

from opentelemetry._opamp.agent import OpAMPAgent
from opentelemetry._opamp.callbacks import OpAMPCallbacks
from opentelemetry._opamp.client import OpAMPClient
from opentelemetry._opamp.proto import opamp_pb2
from opentelemetry._opamp.transport.requests import RequestsTransport

FULL_STATE = opamp_pb2.ServerToAgentFlags.ServerToAgentFlags_ReportFullState
LOCK = threading.Lock()


def tell(event, **facts):
    with LOCK:
        sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
        sys.stdout.flush()


class Witness(RequestsTransport):
    """The client's own transport, which tells what was said on both sides."""

    def send(self, *, data, **options):
        said = opamp_pb2.AgentToServer()
        said.ParseFromString(data)
        facts = {
            "seq": said.sequence_num,
            "described": said.HasField("agent_description"),
            "status": said.remote_config_status.last_remote_config_hash.hex()
            if said.HasField("remote_config_status")
            else None,
            "effective": said.HasField("effective_config"),
            "goodbye": said.HasField("agent_disconnect"),
        }
        try:
            heard = super().send(data=data, **options)
        except Exception as error:
            tell("failed", error=str(error), **facts)
            raise
        offered = heard.remote_config.config_hash.hex() if heard.HasField("remote_config") else None
        settings = heard.connection_settings if heard.HasField("connection_settings") else None
        tell(
            "answered",
            uid=heard.instance_uid.hex(),
            offered=offered,
            asked=bool(heard.flags & FULL_STATE),
            error=heard.error_response.error_message,
            settings=settings
            and [settings.opamp.destination_endpoint, settings.opamp.heartbeat_interval_seconds],
            **facts,
        )
        return heard


class Application(OpAMPCallbacks):
    """Takes every configuration, or none, as it is told."""

    def __init__(self):
        self.answer, self.error = "APPLIED", ""

    def on_message(self, agent, client, message):
        if message.remote_config is None:
            return
        config = message.remote_config
        files = {
            name: {"body": held.body.decode(), "type": held.content_type}
            for name, held in config.config.config_map.items()
        }
        tell("config", hash=config.config_hash.hex(), files=files)
        client.update_effective_config(
            {name: held["body"] for name, held in files.items()}, content_type="text/yaml"
        )
        value = opamp_pb2.RemoteConfigStatuses.Value(f"RemoteConfigStatuses_{self.answer}")
        status = client.update_remote_config_status(config.config_hash, value, self.error)
        if status is not None:
            agent.send(client.build_remote_config_status_response_message(status))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--token", default="")
    parser.add_argument("--interval", type=float, default=0.2)
    parser.add_argument("--capabilities", type=lambda text: int(text, 0), default=0x3007)
    parser.add_argument("--attributes", type=json.loads, default={"service.name": "checkout"})
    parser.add_argument("--retries", type=int, default=10)
    asked = parser.parse_args()
    client = OpAMPClient(
        endpoint=asked.url,
        headers={"Authorization": f"Bearer {asked.token}"} if asked.token else {},
        agent_identifying_attributes=asked.attributes,
        capabilities=asked.capabilities,
        transport=Witness(),
        tls_certificate=asked.ca,
    )
    application = Application()
    # Retries come after 0.1 s instead of 1 s; the limit of one second for an answer is the client's own.
    agent = OpAMPAgent(
        interval=asked.interval,
        callbacks=application,
        client=client,
        max_retries=asked.retries,
        initial_backoff=0.1,
    )
    agent.start()
    for line in sys.stdin:
        order = json.loads(line)
        if order.get("goodbye"):
            break
        if order.get("state"):
            agent.send(client.build_full_state_message())
        application.answer = order.get("answer", application.answer)
        application.error = order.get("error", "")
    agent.stop()


if __name__ == "__main__":
    main()
