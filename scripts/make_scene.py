"""Make the demo's household scene: homeguard/demo/scene.ogg and its labels, scene.json.

Every sound is made here: speech by espeak-ng and flite, the rest by arithmetic. Seeded; the same
versions of the synthesisers give the same scene. Run by scripts/make-scene.
"""

# ruff: noqa: INP001  (a script, no package)
from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import fftconvolve

from homeguard.labels import Category
from homeguard.mel import SAMPLE_RATE, Float32
from homeguard.training.sounds import RECIPES
from homeguard.training.speech import Voice, render
from homeguard.training.synthesis import (
    Generator,
    add,
    beats,
    faded,
    noise,
    normal,
    pulsing,
    seconds,
    square_overtones,
    tone,
)

SEED = 20_261_120
DURATION_S = 98.0
TONE_DBFS = -60.0
REVERB_S = 0.35  # a furnished living room
OUT = Path(__file__).resolve().parent.parent / "homeguard" / "demo"

CALL = "살려주세요! 도와주세요!"
NEWS = (
    "Good evening. The city council has approved the new bus line along the river.",
    "Tickets will go on sale in the spring, and the first buses leave in May.",
)
WEATHER = "내일은 전국이 대체로 맑고, 낮에는 오늘보다 조금 따뜻하겠습니다."
# Variants that the training split of the lab's spoken corpus leaves out.
CALLER = Voice("espeak-ng", "ko+f5", 150, 62, 3)
PRESENTER = Voice("flite", "slt", 165, 50, 0)
FORECASTER = Voice("espeak-ng", "ko+m6", 165, 45, 0)


@dataclass(frozen=True, slots=True)
class Event:
    """One sound of the scene; a category only where an incident must come of it."""

    start_s: float
    end_s: float
    name: str
    name_ko: str
    category: Category | None


def main() -> None:
    """Mix the scene and write both files."""
    rng = np.random.default_rng(SEED)
    dry = np.zeros(int(DURATION_S * SAMPLE_RATE), dtype=np.float32)
    events: list[Event] = []
    for start_s, name, name_ko, category, sound, level_dbfs in sounds(rng):
        add(dry, at_level(sound, level_dbfs), start_s)
        length_s = len(sound) / SAMPLE_RATE
        events.append(Event(start_s, round(start_s + length_s, 2), name, name_ko, category))
    wet = fftconvolve(dry, room_response(rng))[: len(dry)] + room_tone(rng, DURATION_S)
    peak = float(np.abs(wet).max())
    if peak >= 1.0:
        message = f"the scene clips at {peak:.2f}: lower a level"
        raise SystemExit(message)
    soundfile.write(
        OUT / "scene.ogg",
        wet.astype(np.float32),
        SAMPLE_RATE,
        format="OGG",
        subtype="OPUS",
        compression_level=0.8,  # 57 kbit/s
    )
    labels = {
        "version": 1,
        "recording": "scene.ogg",
        "duration_s": DURATION_S,
        "made_by": f"scripts/make-scene, seed {SEED}",
        "events": [asdict(event) for event in events],
    }
    text = json.dumps(labels, ensure_ascii=False, indent=1)
    (OUT / "scene.json").write_text(text + "\n", encoding="utf-8")


def sounds(
    rng: Generator,
) -> Iterator[tuple[float, str, str, Category | None, Float32, float]]:
    """Start, names, category, sound and level (dBFS of its loud parts), in order of time."""
    recipe = {recipe.name: recipe.make for recipe in RECIPES}
    news = [render(line, "en", PRESENTER) for line in NEWS]
    weather = render(WEATHER, "ko", FORECASTER)
    pause = np.zeros(SAMPLE_RATE // 2, dtype=np.float32)
    television = np.concatenate([news[0], pause, news[1]])
    call = render(CALL, "ko", CALLER)
    quiet = None
    yield 3.0, "television news", "텔레비전 뉴스", quiet, television, -32.0
    yield 15.0, "vacuum cleaner", "진공청소기", quiet, vacuum_cleaner(rng, 10.0), -26.0
    yield 27.0, "footsteps", "발소리", quiet, recipe["footsteps"](rng), -40.0
    yield 30.0, "dishes", "설거지", quiet, recipe["dishes"](rng), -34.0
    yield 36.0, "call for help", "도움 요청", Category.HELP_REQUEST, call, -25.0
    yield 42.0, "call for help", "도움 요청", Category.HELP_REQUEST, call, -25.0
    yield 51.0, "television weather", "텔레비전 날씨", quiet, weather, -32.0
    yield 57.0, "microwave oven", "전자레인지", quiet, microwave(rng), -34.0
    yield 64.0, "smoke alarm", "화재경보기", Category.FIRE, smoke_alarm(rng), -22.0
    yield (
        90.0,
        "breaking glass",
        "유리 깨지는 소리",
        Category.THEFT,
        recipe["glass_break"](rng),
        -22.0,
    )


def smoke_alarm(rng: Generator) -> Float32:
    """Three rounds of temporal-three (ISO 8201) at 3.1 kHz, as a piezo sounds it."""
    beep = faded(tone(3_100.0, 0.5, square_overtones(4)), 0.003, 0.01)
    starts = [4.0 * turn + beat for turn in range(3) for beat in (0.0, 1.0, 2.0)]
    return beats(beep, starts, 10.6, rng)


def microwave(rng: Generator) -> Float32:
    """It has finished: three beeps, then nothing."""
    beep = faded(tone(2_050.0, 0.35), 0.005, 0.02)
    return beats(beep, [0.0, 0.9, 1.8], 2.2, rng)


def vacuum_cleaner(rng: Generator, duration_s: float) -> Float32:
    """Switched on, pushed to and fro, switched off: a motor's whine in rushing air."""
    t = seconds(duration_s)
    speed = np.minimum(1.0, np.minimum(t / 0.8, (duration_s - t) / 1.2))
    motor = tone(60.0 + 260.0 * speed, duration_s, list(rng.uniform(0.2, 0.8, 10)))
    air = noise(duration_s, rng, (250.0, 6_500.0)) * pulsing(duration_s, rng, 0.6, 0.35)
    return normal((air + np.float32(0.35) * motor) * speed)


def room_response(rng: Generator) -> Float32:
    """The direct sound and a diffuse tail that falls by 60 dB in REVERB_S, 12 dB below it."""
    t = seconds(REVERB_S)
    tail = rng.standard_normal(len(t)) * 10.0 ** (-3.0 * t / REVERB_S)
    tail[: SAMPLE_RATE // 200] = 0.0
    tail *= 10.0 ** (-12.0 / 20.0) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return tail.astype(np.float32)


def room_tone(rng: Generator, duration_s: float) -> Float32:
    """What a microphone hears where nothing happens: soft noise, a refrigerator's 120 Hz."""
    hiss = noise(duration_s, rng, (60.0, 3_000.0))
    hum = tone(120.0, duration_s, [0.4, 0.2])
    hum *= pulsing(duration_s, rng, 0.03, 0.5)
    rms = np.sqrt(np.mean(hiss**2))
    return at_level(hiss + hum * np.float32(0.6 * rms), TONE_DBFS)


def at_level(sound: Float32, dbfs: float) -> Float32:
    """Scaled so that its loud parts (within 20 dB of the loudest 50 ms) have this RMS."""
    size = SAMPLE_RATE // 20
    frames = sound[: len(sound) // size * size].reshape(-1, size)
    power = np.mean(frames.astype(np.float64) ** 2, axis=1)
    loud = power[power > power.max() / 100.0]
    gain = 10.0 ** (dbfs / 20.0) / float(np.sqrt(loud.mean()))
    return sound * np.float32(gain)


if __name__ == "__main__":
    main()
