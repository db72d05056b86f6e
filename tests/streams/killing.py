"""Kills processes that append to a spool, and compares what they said with what is there."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from popham.streams.packing import unpack

from .appender import open_spool

APPENDER = Path(__file__).with_name("appender.py")


class Killing:
    """Processes that append one after the other to the same spool.

    Attributes:
        kept: Records that were said to be durable → their offsets.
        sent: Offset → what upstream was given there: a record, or the cause of a loss.
    """

    def __init__(self, folder):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, str(APPENDER), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.kept = {}
        self.sent = {}
        self.number = 0

    def run(self, lines):
        """Let a process append, and kill it after so many lines."""
        self.process.stdin.write(f"{self.number}\n".encode())
        self.process.stdin.flush()
        for seen, line in enumerate(self.process.stdout, 1):
            word, *rest = line.decode().split()
            if word == "failed":
                raise EOFError(self.folder)
            if word == "killed":
                break
            self.note(word, rest)
            if seen == lines:
                text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
                for child in text.split():
                    os.kill(int(child), signal.SIGKILL)
        # What the last process appended and did not say is another's number from now on.
        self.number += 1000

    def note(self, word, rest):
        if word == "kept":
            first, end, offset = map(int, rest)
            self.kept |= {record: offset - end + record for record in range(first, end)}
            self.number = max(self.number, end)
            return
        first, end, text = int(rest[0]), int(rest[1]), rest[2]
        for offset in range(first, end):
            # Sent twice, since it was killed before it heard: then it is the same.
            assert self.sent.setdefault(offset, text) == text or not text.isdigit()

    def check(self):
        """Everything that was said to be durable was sent once, is still there, or is counted as lost."""
        found = dict(self.sent)
        for frame in open_spool(self.folder).read(0, limit=1 << 30):
            text = str(frame.head.cause) if frame.head.cause else unpack(frame).split()[0].decode()
            for offset in range(frame.head.first, frame.head.end):
                found.setdefault(offset, text)
        records = [int(text) for text in found.values() if text.isdigit()]
        lost = len(found) - len(records)
        assert len(set(records)) == len(records), "something is there twice"
        assert sorted(found) == list(range(len(found))), "an offset has no frame"
        wrong = [one for one, at in self.kept.items() if found[at] != str(one) and found[at].isdigit()]
        assert not wrong, f"at the offsets of {wrong[:5]} stands neither what was durable nor a loss"
        return len(self.kept), lost

    def close(self):
        self.process.communicate(timeout=120)


def kill_often(folder, times, seed):
    """Kill so many processes; return how many records were durable, and how many of them were lost and counted."""
    rng, killing = random.Random(seed), Killing(folder)
    try:
        for number in range(times):
            killing.run(rng.randrange(1, 150))
            if number % 10 == 9:
                killing.check()
    finally:
        killing.close()
    return killing.check()
