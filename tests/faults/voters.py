"""Rows about voters: processes that come to harm, and models that are not as they should be."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from homeguard.config import parse
from homeguard.demo.scene import read_scene
from homeguard.domain import VoteReason, Window
from homeguard.health import VoterHealth
from homeguard.voting.load import load_panel_apart, serve
from homeguard.voting.nursery import Nursery
from homeguard.voting.panel import ORDER
from tests.faults.post import a_broker, a_gateway, a_subscriber
from tests.faults.table import Outcome, Row
from tests.parts.mosquitto import wait_until
from tests.test_daemon import configure, running
from tests.voting.test_remote import EXPECTED, observe

MODELS = Path(__file__).parents[2] / "models"
HARMS = {
    "killed": "its process is killed",
    "stopped": "its process is stopped (SIGSTOP)",
    "hang": "it hangs",
    "crash": "it crashes (SIGSEGV)",
    "nan": "it gives NaN",
    "wrong_shape": "it gives a wrong shape",
    "leak": "it leaks memory",
}


def harmed(_directory: Path, *, how: str) -> Outcome:
    seen = observe(how)
    passed = (
        EXPECTED[how] in seen["after"]
        and seen["others"] == ["heard"]
        and seen["decisions"] == ["agreed"]
        and seen["back"]
        and seen["back_s"] < 30.0
        and not seen["first_lives"]
    )
    return Outcome(
        passed,
        f"its votes: {seen['after']}; the others': {seen['others']}; decisions: "
        f"{seen['decisions']}; a fresh one after {seen['back_s']:.1f} s",
    )


def unfit(directory: Path, *, spoil: Callable[[Path], None]) -> Outcome:
    """The CNN's model is spoilt: the others vote, and the fault is known without a window."""
    nursery = Nursery(serve)
    models = directory / "models"
    shutil.copytree(MODELS, models)
    spoil(models)
    config = parse(f"node: {{models_dir: {models}}}")
    voting = load_panel_apart(config, nursery)
    health = VoterHealth(ORDER)
    health.seen(voting.panel.troubles(), 0.0)
    down = [symptom.subject for symptom in health.symptoms()]
    sound = np.random.default_rng(1).normal(0.0, 0.05, 80_000).astype(np.float32)
    votes = voting.panel.poll(voting.extractor.extract(Window("den", 0.0, 5.0, sound, active=True)))
    said = {vote.voter: vote.reason for vote in votes}
    voting.panel.close()
    nursery.close()
    passed = (
        down == ["cnn"]
        and said["cnn"] is VoteReason.MISSING
        and said["encoder"] is VoteReason.HEARD
    )
    said_of_it = "; ".join(voting.missing).replace(str(directory), "")
    return Outcome(passed, f"down: {down}; encoder {said['encoder'].value}; {said_of_it}")


def gone(models: Path) -> None:
    (models / "cnn/model.onnx").unlink()


def altered(models: Path) -> None:
    path = models / "cnn/model.onnx"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def wrong_labels(models: Path) -> None:
    path = models / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    labels = manifest["models"]["cnn"]["labels"]
    labels[0], labels[1] = labels[1], labels[0]
    path.write_text(json.dumps(manifest), encoding="utf-8")


def none_left(directory: Path) -> Outcome:
    """All three are killed at once: that is a fault of its own, and all three come back."""
    nursery = Nursery(serve)
    config = parse(f"node: {{models_dir: {MODELS}, state_dir: {directory}}}")
    voting = load_panel_apart(config, nursery)
    health = VoterHealth(ORDER)
    for seat in voting.panel._seats.values():
        nursery.end(seat._worker.voter.pid)  # type: ignore[union-attr] # a voter is at work
    time.sleep(0.5)
    health.seen(voting.panel.troubles(), 0.0)
    causes = [symptom.cause.value for symptom in health.symptoms()]
    began_s = time.monotonic()
    while voting.panel.troubles() and time.monotonic() - began_s < 30.0:
        voting.panel.tend()
        time.sleep(0.2)
    back_s, left = time.monotonic() - began_s, voting.panel.troubles()
    voting.panel.close()
    nursery.close()
    passed = causes[-1] == "unjudged" and not left
    return Outcome(passed, f"{causes}; all back after {back_s:.1f} s")


def alone(directory: Path) -> Outcome:
    """Only the CNN's model is there: what it hears goes out as unconfirmed, and that is a fault."""
    models = directory / "models"
    shutil.copytree(MODELS, models)
    shutil.rmtree(models / "encoder-head")
    shutil.rmtree(models / "text")
    (models / "whisper-home/model.bin").unlink()
    with a_broker(directory) as broker, a_gateway() as gateway:
        broker.start()
        config = configure(directory, broker, gateway, file=str(read_scene().recording))
        text = config.read_text(encoding="utf-8")
        config.write_text(text.replace("node:", f"node:\n  models_dir: {models}", 1), "utf-8")
        with a_subscriber(broker) as subscriber, running(config, directory / "notify"):
            wait_until(lambda: any("미확인" in m.body for m in gateway.messages), 150)
            wait_until(lambda: any("하나만" in m.body for m in gateway.messages), 60)
            events = [json.loads(m.payload) for m in subscriber.on("homeguard/home/events")]
    reasons = {e["after"]["reason"] for e in events if e["type"] == "new"}
    causes = {e["after"]["cause"] for e in events if e["type"] == "fault"}
    texts = [m.body for m in gateway.messages]
    passed = (
        reasons == {"unconfirmed"}
        and "one_voter" in causes
        and any("미확인" in body for body in texts)
    )
    return Outcome(
        passed, f"MQTT reason {sorted(reasons)}; faults {sorted(causes)}; texts {texts[:3]}"
    )


_ALONE = "it alone abstains, two decide, a fresh one within 30 s"
_MISSING = "it abstains as missing, the others vote, a fault without waiting for a sound"

ROWS = (
    *(
        Row(f"voter-{how.replace('_', '-')}", f"voter: {what}", _ALONE, partial(harmed, how=how))
        for how, what in HARMS.items()
    ),
    Row("voters-none", "all voters are killed", "a fault of its own; all come back", none_left),
    Row(
        "voters-one",
        "only one voter is left",
        "its alerts are marked unconfirmed on MQTT and in the text; a fault",
        alone,
        limit_s=300.0,
    ),
    Row("model-missing", "a model's file is gone", _MISSING, partial(unfit, spoil=gone)),
    Row(
        "model-altered",
        "a bit of a model's file is flipped",
        _MISSING,
        partial(unfit, spoil=altered),
    ),
    Row(
        "model-labels",
        "a model's labels are in another order",
        _MISSING,
        partial(unfit, spoil=wrong_labels),
    ),
)
