"""The daemon's pipeline measured: clips, scenes, and other settings over what was heard.

    python -m homeguard.training.evaluate_pipeline clips MANIFEST --split val --out clips.json
    python -m homeguard.training.evaluate_pipeline scenes MANIFEST --hours 24 --out scenes.json
    python -m homeguard.training.evaluate_pipeline sweep heard.jsonl --out sweep.json
    python -m homeguard.training.evaluate_pipeline peer MANIFEST --yamnet FILE --out peer.json

`scenes` hears first and scores then; with `--heard` what was heard is kept, and is scored again
without hearing when the file is there. Several runs may share the hours (`--from-hour`): their
files, one after another in one, are scored as one. `--every-voter` asks voters that could not
matter too, as a sweep of thresholds needs. Hearing takes minutes for every hour of sound;
`--budget-min` stops it between two scenes, and the figures are of what was heard. `peer` gives
YAMNet's figures, with a head trained on the same clips.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from homeguard import config as configuration
from homeguard.config import Config
from homeguard.domain import HomeGuardError
from homeguard.training import clip_scores, scene_scores, scene_sweep
from homeguard.training.corpus import (
    SPLITS,
    USABLE_LICENCES,
    open_audio,
    read_manifest,
    select,
    summary,
)
from homeguard.training.errors import LabError
from homeguard.training.repertoire import Repertoire
from homeguard.training.scene_hearing import hear_scenes, load, offline, save
from homeguard.training.scenes import EventPlan, Scene, event_scenes, ordinary_scene
from homeguard.training.speech import HELD_OUT, SpeechOptions, open_speech
from homeguard.voting.registry import Registry

_THRESHOLDS = (None, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_SHOWN = 12


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands; 0 when it worked, 2 for bad arguments or data."""
    given = _parser().parse_args(arguments)
    try:
        record = given.run(given)
    except (HomeGuardError, LabError, OSError) as exc:
        print(exc, file=sys.stderr)  # noqa: T201  (a command's own output)
        return 2
    given.out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_strict(record), indent=1, ensure_ascii=False, default=str)
    given.out.write_text(text + "\n", encoding="utf-8")
    return 0


def _clips(given: argparse.Namespace) -> dict[str, Any]:
    config = _config(given)
    registry = Registry.open(config.node)
    known = read_manifest(given.manifest)
    clips, audio = select(known, given.split), open_audio(known, given.cache)
    if given.limit:
        order = np.random.default_rng(0).permutation(len(clips))[: given.limit]
        clips = tuple(clips[int(i)] for i in order)
    rows = list(clip_scores.hear_clips(clips, audio, config, registry))
    about = f"{len(rows)} clips of split {given.split}."
    return {
        "kind": "clips",
        "about": about,
        "split": given.split,
        "models": _models(registry, config),
        "data": summary(clips),
        **clip_scores.record(rows),
    }


def _scenes(given: argparse.Namespace) -> dict[str, Any]:
    config = offline(_config(given), skip_settled=not given.every_voter)
    registry = Registry.open(config.node)
    if given.heard is None or not given.heard.exists():
        budget_s = None if given.budget_min is None else 60.0 * given.budget_min
        heard = hear_scenes(_made_scenes(given), config, registry, budget_s)
        kept = given.heard or given.out.with_suffix(".heard.jsonl")
        save(heard, kept)
        scenes = load(kept)
    else:
        scenes = load(given.heard)
    scores = scene_scores.score(scenes)
    asked = "" if scores.false_alarms.hours >= given.hours else f" ({given.hours:g} h were asked)"
    about = (
        f"{len([s for s in scenes if s.events])} scenes with events and "
        f"{scores.false_alarms.hours:.1f} h of ordinary sound{asked} of split {given.split}."
    )
    return {
        "kind": "scenes",
        "about": about,
        "split": given.split,
        "models": _models(registry, config),
        "decision": config.decision.model_dump(mode="json"),
        "window": config.window.model_dump(mode="json"),
        "scores": asdict(scores),
    }


def _sweep(given: argparse.Namespace) -> dict[str, Any]:
    scenes = [scene for path in given.heard for scene in load(path)]
    settings = scene_sweep.grid(encoders=_THRESHOLDS, cnns=_THRESHOLDS)
    outcomes = scene_sweep.sweep(scenes, settings)
    for outcome in outcomes[:_SHOWN]:
        print(_line(outcome))  # noqa: T201  (a command's own output)
    return {"kind": "sweep", "outcomes": [asdict(outcome) for outcome in outcomes]}


def _peer(given: argparse.Namespace) -> dict[str, Any]:
    from homeguard.training import peer  # noqa: PLC0415 - LiteRT, which nothing else here needs

    clips = read_manifest(given.manifest, USABLE_LICENCES)
    audio = open_audio(clips, given.cache)
    found = peer.measure(given.yamnet, clips, audio, given.cache, given.split)
    return {"kind": "peer", "split": given.split, "data": summary(clips), "yamnet": found}


def _line(outcome: scene_sweep.Outcome) -> str:
    s = outcome.setting
    recall = " ".join(f"{snr} dB {share.share:.2f}" for snr, share in outcome.recall.items())
    return (
        f"{s.onset_windows} of {s.onset_of}, encoder {s.encoder}, cnn {s.cnn}: {recall}, "
        f"false {outcome.false_alarms.count} in {outcome.false_alarms.hours:.1f} h + "
        f"{outcome.false_alarms_between_events.count}, p95 {outcome.latency_p95_s:.1f} s"
    )


def _made_scenes(given: argparse.Namespace) -> Iterator[Scene]:
    clips = read_manifest(given.manifest)
    splits = HELD_OUT if given.split in HELD_OUT else SPLITS
    speech = open_speech(SpeechOptions(), given.cache, splits=splits) if given.speech else None
    repertoire = Repertoire(given.split, clips, open_audio(clips, given.cache), speech)
    plan = EventPlan(recorded=given.recorded, spoken=given.spoken if speech else 0, made=given.made)
    if given.events:
        yield from event_scenes(repertoire, plan)
    left_s = 3600.0 * given.hours
    for seed in count(given.from_hour):
        if left_s <= 0.0:
            return
        yield ordinary_scene(repertoire, seed, min(left_s, 3600.0))
        left_s -= 3600.0


def _strict(value: Any) -> Any:  # noqa: ANN401  (whatever JSON holds)
    """The same with null for NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _strict(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _config(given: argparse.Namespace) -> Config:
    return configuration.load(given.config) if given.config else Config()


def _models(registry: Registry, config: Config) -> dict[str, dict[str, str]]:
    """Every model of the set in use with the hashes of its files."""
    chosen = registry.choose(config.voters.set)
    return {
        name: {path: file.sha256 for path, file in registry.models[name].entry.files.items()}
        for name in (chosen.whisper, chosen.head, chosen.cnn, chosen.text)
        if name in registry.models
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="evaluate_pipeline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True)
    for name, run in (("clips", _clips), ("scenes", _scenes), ("peer", _peer)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("manifest", type=Path)
        command.add_argument("--split", choices=("train", "val", "test"), default="val")
        command.add_argument("--cache", type=Path, default=Path("lab/cache"))
        command.add_argument("--out", type=Path, required=True)
        if name == "peer":
            command.add_argument("--yamnet", type=Path, required=True, help="yamnet.tflite")
            continue
        command.add_argument("--config", type=Path, help="config.yaml; the defaults if not given")
        if name == "clips":
            command.add_argument("--limit", type=int, help="at most so many clips, at random")
            continue
        command.add_argument("--hours", type=float, default=24.0, help="of ordinary sound")
        command.add_argument(
            "--from-hour", type=int, default=0, help="the first of them: to share out the hours"
        )
        command.add_argument("--budget-min", type=float, help="begin no scene after so long")
        command.add_argument("--heard", type=Path, help="keeps what was heard")
        command.add_argument("--every-voter", action="store_true", help="skip no voter")
        command.add_argument("--no-events", dest="events", action="store_false")
        command.add_argument("--no-speech", dest="speech", action="store_false")
        command.add_argument("--recorded", type=int, help="events at each ratio; all if not given")
        command.add_argument("--spoken", type=int, default=40, help="events at each ratio")
        command.add_argument("--made", type=int, default=13, help="events at each ratio")
    command = commands.add_parser("sweep")
    command.set_defaults(run=_sweep)
    command.add_argument("heard", type=Path, nargs="+")
    command.add_argument("--out", type=Path, required=True)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
