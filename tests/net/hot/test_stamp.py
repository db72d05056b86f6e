"""The lines of every answer, and the second they are of."""

from popham.net.hot.stamp import Stamp


class Told:
    """A clock that counts how often it is asked."""

    def __init__(self, now):
        self.at, self.asked = now, 0

    def now(self):
        self.asked += 1
        return self.at

    def monotonic(self):
        return 0.0


def test_an_answer_carries_the_time_in_the_form_that_http_asks_for():
    stamp = Stamp(Told(784_111_777.5))
    assert stamp.line(0.0) == "Date: Sun, 06 Nov 1994 08:49:37 GMT"
    assert stamp.found(22, 0.0) == (
        b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        b"Content-Type: application/x-protobuf\r\nContent-Length: 22\r\n\r\n"
    )
    assert stamp.begin(22, 0.0) + b"\r\n" == stamp.found(22, 0.0)


def test_the_clock_is_asked_once_a_second_and_the_time_is_never_a_second_old():
    clock = Told(784_111_777.5)
    stamp = Stamp(clock)
    for step in range(5):
        stamp.found(20 + step, 10.0 + step / 10)
    assert clock.asked == 1
    clock.at += 0.5
    assert b"08:49:38" in stamp.found(22, 10.5)
    assert clock.asked == 2


def test_only_so_many_sizes_are_kept():
    stamp = Stamp(Told(1.0))
    for size in range(1000):
        assert b"Content-Length: %d\r\n\r\n" % size in stamp.found(size, 0.0)
    assert len(stamp._heads) == 64
