"""Symptoms of rooms and voters, and the faults that they become."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from homeguard.domain import (
    BLOCK_SAMPLES,
    AudioChunk,
    Change,
    FaultAlert,
    FaultCause,
    Vote,
    VoteReason,
)
from homeguard.health import AudioState, FaultWatch, RoomHealth, Symptom, VoterHealth
from tests.alerting.cases import START

BLOCK_S = BLOCK_SAMPLES / 16_000
OK = Vote("cnn", emergency=False, probability=0.1)
LATE = Vote.abstain("cnn", VoteReason.LATE)


class Room:
    """A room's health on a clock that moves with the sound."""

    def __init__(self) -> None:
        self.health = RoomHealth("den", 30.0, 0.0)
        self.now_s = 0.0

    def hear(self, seconds: float, peak: float = 0.01, offset: float = 0.0) -> None:
        """A constant; one of 1.0 is cut off, and 0.0 is silence."""
        samples = np.full(BLOCK_SAMPLES, peak, dtype=np.float32)
        clipped = BLOCK_SAMPLES if peak >= 1.0 else 0
        for _ in range(round(seconds / BLOCK_S)):
            self.now_s += BLOCK_S
            chunk = AudioChunk("den", self.now_s - BLOCK_S, samples, clipped=clipped, offset=offset)
            self.health.heard(chunk, self.now_s)

    def garble(self, seconds: float) -> None:
        """Sound of which one sample in each chunk was no number."""
        samples = np.full(BLOCK_SAMPLES, 0.01, dtype=np.float32)
        for _ in range(round(seconds / BLOCK_S)):
            self.now_s += BLOCK_S
            self.health.heard(AudioChunk("den", self.now_s - BLOCK_S, samples, 1), self.now_s)

    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @property
    def causes(self) -> list[FaultCause]:
        return [symptom.cause for symptom in self.health.symptoms(self.now_s)]

    @property
    def state(self) -> AudioState:
        return self.health.state(self.now_s)


def test_a_room_that_is_heard_has_no_symptom() -> None:
    room = Room()
    assert room.state is AudioState.STARTING
    room.hear(90)
    assert (room.state, room.causes) == (AudioState.ONLINE, [])


def test_a_microphone_that_never_gave_sound_is_flagged_within_30_s() -> None:
    room = Room()
    room.wait(24)
    assert room.causes == []
    room.wait(5)
    assert (room.state, room.causes) == (AudioState.OFFLINE, [FaultCause.NEVER_STARTED])


def test_one_that_cannot_be_opened_has_never_started_either() -> None:
    room = Room()
    room.health.lost("no such microphone", 1.0)
    assert room.health.symptoms(2.0) == (
        Symptom(FaultCause.NEVER_STARTED, "den", 1.0, "no such microphone"),
    )


def test_a_lost_source_is_offline_since_its_first_failure() -> None:
    room = Room()
    room.hear(5)
    room.health.lost("unplugged", 10.0)
    room.health.lost("not there", 20.0)
    room.hear(1)  # what had waited in the queue
    assert room.health.symptoms(21.0) == (Symptom(FaultCause.OFFLINE, "den", 10.0, "not there"),)
    room.health.back()
    assert room.causes == []


def test_all_zero_sound_is_flagged_after_30_s() -> None:
    room = Room()
    room.hear(10)
    room.hear(29, peak=0.0)
    assert room.causes == []
    room.hear(1.5, peak=0.0)
    assert (room.state, room.causes) == (AudioState.SILENT, [FaultCause.SILENT])
    room.hear(1)
    assert room.state is AudioState.ONLINE


def test_a_source_that_gives_nothing_is_frozen() -> None:
    room = Room()
    room.hear(10)
    room.wait(16)
    assert (room.state, room.causes) == (AudioState.OFFLINE, [FaultCause.FROZEN])


def test_a_minute_of_clipping_is_flagged_and_still_heard() -> None:
    room = Room()
    room.hear(50, peak=1.0)
    assert room.causes == []
    room.hear(15, peak=1.0)
    assert (room.state, room.causes) == (AudioState.ONLINE, [FaultCause.CLIPPED])
    room.hear(11)
    assert room.causes == []


def test_lost_sound_is_flagged_for_a_minute() -> None:
    room = Room()
    room.hear(5)
    room.health.shed(5.0)
    room.hear(25)
    room.health.shed(30.0)
    (symptom,) = room.health.symptoms(31.0)
    assert (symptom.cause, symptom.since_s) == (FaultCause.BEHIND, 5.0)
    room.hear(90)
    assert room.causes == []


def test_a_recording_that_is_over_is_no_fault() -> None:
    room = Room()
    room.hear(5)
    room.health.finished()
    room.wait(100)
    assert (room.state, room.causes) == (AudioState.OVER, [])


def test_a_voter_is_down_after_five_faults_in_a_row() -> None:
    voters = VoterHealth(["encoder", "transcript", "cnn"])
    for second in range(4):
        voters.heard([LATE], second)
    assert voters.symptoms() == ()
    voters.heard([Vote.abstain("cnn", VoteReason.SKIPPED)], 4.0)
    voters.heard([LATE], 5.0)
    (symptom,) = voters.symptoms()
    assert (symptom.cause, symptom.subject, symptom.since_s) == (FaultCause.VOTER, "cnn", 0.0)
    voters.heard([OK], 6.0)
    assert voters.symptoms() == ()


def test_a_voter_that_is_away_is_down_without_being_asked() -> None:
    voters = VoterHealth(["encoder", "transcript", "cnn"])
    voters.seen({"cnn": "its process has ended"}, 3.0)
    voters.seen({"cnn": "being made anew"}, 4.0)
    assert voters.symptoms() == (Symptom(FaultCause.VOTER, "cnn", 3.0, "being made anew"),)
    voters.seen({}, 5.0)
    assert voters.symptoms() == ()


def test_no_voter_left_is_a_fault_of_its_own() -> None:
    voters = VoterHealth(["encoder", "cnn"])
    voters.seen({"cnn": "gone"}, 3.0)
    voters.seen({"cnn": "gone", "encoder": "gone"}, 7.0)
    *_, worst = voters.symptoms()
    assert (worst.cause, worst.since_s) == (FaultCause.UNJUDGED, 7.0)


class Watched:
    """A fault watch second by second."""

    def __init__(self) -> None:
        self.watch = FaultWatch()
        self.now_s = 0.0
        self.told: list[tuple[float, FaultAlert]] = []

    def see(self, seconds: int, *causes: FaultCause, subject: str = "den") -> None:
        since_s = self.now_s
        for _ in range(seconds):
            self.now_s += 1.0
            symptoms = [Symptom(cause, subject, since_s, "") for cause in causes]
            at = START + timedelta(seconds=self.now_s)
            self.told += [(self.now_s, a) for a in self.watch.update(symptoms, self.now_s, at)]


def test_a_fault_is_told_once_and_again_on_recovery() -> None:
    watched = Watched()
    watched.see(600, FaultCause.OFFLINE)
    watched.see(60)
    (begins_s, begin), (_, over) = watched.told
    assert (begins_s, begin.change, over.change) == (20.0, Change.NEW, Change.END)
    assert over.after.id == begin.after.id
    assert begin.after.raised_at == START
    assert over.after.ended_at == START + timedelta(seconds=601)


def test_what_passes_soon_is_no_fault() -> None:
    watched = Watched()
    for _ in range(20):
        watched.see(15, FaultCause.OFFLINE)
        watched.see(15)
    assert watched.told == []


def test_what_comes_and_goes_is_one_fault() -> None:
    watched = Watched()
    for _ in range(20):
        watched.see(25, FaultCause.OFFLINE)
        watched.see(25)
    assert [alert.change for _, alert in watched.told] == [Change.NEW]


def test_a_dead_microphone_that_is_unplugged_has_not_recovered() -> None:
    watched = Watched()
    watched.see(60, FaultCause.SILENT)
    watched.see(60, FaultCause.OFFLINE)
    assert [alert.change for _, alert in watched.told] == [Change.NEW]


def test_two_rooms_and_two_causes_are_faults_of_their_own() -> None:
    watched = Watched()
    watched.see(30, FaultCause.OFFLINE, FaultCause.BEHIND)
    watched.see(30, FaultCause.OFFLINE, subject="kitchen")
    causes = [(alert.after.cause, alert.after.subject) for _, alert in watched.told]
    assert causes[:2] == [(FaultCause.OFFLINE, "den"), (FaultCause.BEHIND, "den")]
    assert (FaultCause.OFFLINE, "kitchen") in causes


def test_a_fault_that_a_restart_left_is_not_told_twice() -> None:
    first = Watched()
    first.see(30, FaultCause.OFFLINE)
    second = Watched()
    second.watch = FaultWatch([alert.after for _, alert in first.told])
    second.see(60, FaultCause.NEVER_STARTED)
    assert second.told == []
    second.see(40)
    assert [alert.change for _, alert in second.told] == [Change.END]


def test_one_voter_left_is_a_fault_and_none_another() -> None:
    voters = VoterHealth(["encoder", "transcript", "cnn"])
    voters.seen({"cnn": "gone"}, 3.0)
    assert [s.cause for s in voters.symptoms()] == [FaultCause.VOTER]
    voters.seen({"cnn": "gone", "encoder": "gone"}, 7.0)
    *_, alone = voters.symptoms()
    assert (alone.cause, alone.since_s) == (FaultCause.ONE_VOTER, 7.0)
    voters.seen({"cnn": "gone", "encoder": "gone", "transcript": "gone"}, 9.0)
    causes = [s.cause for s in voters.symptoms()]
    assert (FaultCause.UNJUDGED in causes, FaultCause.ONE_VOTER in causes) == (True, False)


def test_too_few_voters_are_told_again_every_hour_and_a_dead_microphone_is_not() -> None:
    watched = Watched()
    watched.see(3 * 3600 + 60, FaultCause.ONE_VOTER, FaultCause.OFFLINE)
    again = [(at_s, a) for at_s, a in watched.told if a.change is Change.UPDATE]
    assert [at_s for at_s, _ in again] == [3621.0, 7221.0, 10821.0]
    assert {a.after.cause for _, a in again} == {FaultCause.ONE_VOTER}
    assert again[0][1].after.updated_at > again[0][1].after.raised_at
    watched.see(60)
    assert [a.change for _, a in watched.told][-2:] == [Change.END, Change.END]


def test_samples_that_are_no_number_are_a_symptom_when_they_persist() -> None:
    room = Room()
    room.hear(10)
    room.garble(20)
    assert room.causes == []
    room.garble(15)
    assert (room.state, room.causes) == (AudioState.ONLINE, [FaultCause.GARBLED])
    assert "364 samples" in room.health.symptoms(room.now_s)[0].detail
    room.hear(11)
    assert room.causes == []


def test_sound_off_its_middle_is_flagged_within_30_s_and_still_heard() -> None:
    room = Room()
    room.hear(60, offset=0.05)  # as cheap sound cards have it
    assert room.causes == []
    room.hear(27, offset=-0.3)
    assert (room.state, room.causes) == (AudioState.ONLINE, [FaultCause.OFFSET])
    room.hear(11)
    assert room.causes == []
