"""Bytes are counted on their way."""

import socket
import threading

from popham.testing.tally import counted


def test_what_goes_by_is_counted_both_ways_and_passed_on():
    with socket.create_server(("127.0.0.1", 0)) as door:

        def answer():
            near, _ = door.accept()
            with near:
                near.sendall(near.recv(64) * 2)

        thread = threading.Thread(target=answer)
        thread.start()
        with (
            counted(door.getsockname()[1]) as (port, tally),
            socket.create_connection(("127.0.0.1", port)) as far,
        ):
            far.sendall(b"four")
            assert far.recv(64) == b"fourfour"
            assert far.recv(64) == b""
            assert (tally.data, tally.connections) == (12, 1)
            assert tally.on_the_wire > 12
        thread.join(5)


def test_where_nothing_listens_the_connection_ends():
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    with counted(port) as (at, _), socket.create_connection(("127.0.0.1", at)) as far:
        assert far.recv(64) == b""
