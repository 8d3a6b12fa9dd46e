"""A slow judge loses the oldest sound of live rooms, counted, and none of a recording."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from homeguard.capture.inbox import Backlog, Inbox
from homeguard.domain import AudioChunk

SILENCE = np.zeros(1536, np.float32)


def chunk(room: str, index: int) -> AudioChunk:
    return AudioChunk(room, index * 0.096, SILENCE)


def drain(inbox: Inbox) -> list[AudioChunk]:
    taken = []
    while (each := inbox.get(0.0)) is not None:
        taken.append(each)
    return taken


def test_a_full_live_room_loses_its_oldest_chunk_and_counts_it():
    inbox = Inbox(per_room=2)
    for index in range(4):
        inbox.put(chunk("den", index))
    assert [c.start_s for c in drain(inbox)] == [2 * 0.096, 3 * 0.096]
    assert inbox.dropped("den") == 2


def test_a_flooding_room_takes_nothing_from_another():
    inbox = Inbox(per_room=2)
    inbox.put(chunk("hall", 0))
    for index in range(9):
        inbox.put(chunk("den", index))
    assert sum(c.room == "hall" for c in drain(inbox)) == 1
    assert inbox.dropped("hall") == 0


def test_a_patient_room_waits_for_space_and_loses_nothing():
    inbox = Inbox(per_room=2)

    def write() -> None:
        for index in range(20):
            inbox.put(chunk("file", index), patient=True)

    writer = threading.Thread(target=write)
    writer.start()
    taken = [inbox.get(5.0) for _ in range(20)]
    writer.join(5.0)
    assert [c.start_s for c in taken if c] == [i * 0.096 for i in range(20)]
    assert inbox.dropped("file") == 0


def test_close_wakes_a_waiting_writer_and_reader():
    inbox = Inbox(per_room=1)
    inbox.put(chunk("file", 0))
    writer = threading.Thread(target=inbox.put, args=(chunk("file", 1),), kwargs={"patient": True})
    writer.start()
    inbox.close()
    writer.join(5.0)
    assert not writer.is_alive()
    assert inbox.get(0.0) is not None
    assert inbox.get(5.0) is None


def test_a_room_that_is_behind_sheds_until_it_is_fresh():
    backlog = Backlog()
    waiting = [5.0, 6.5, 5.0, 2.5, 1.9, 5.0]
    assert [backlog.sheds(s) for s in waiting] == [False, True, True, True, False, False]


def test_what_waits_is_told_in_seconds_by_room():
    inbox = Inbox(100)
    for index in range(10):
        inbox.put(chunk("den", index))
    assert inbox.waiting_s("den") == pytest.approx(0.96)
    assert inbox.waiting_s("hall") == 0.0
