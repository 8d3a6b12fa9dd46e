"""Sounds that are made where recordings are missing, dangerous ones and their harmless doubles.

Each `Recipe` makes one kind of sound, varied widely at every call. Every emergency has normal
doubles from the same primitives (microwave beeps, knocks, clinking dishes, fans), so that no
artefact of synthesis tells a class. They teach; they never count in a score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from homeguard.labels import Category
from homeguard.mel import SAMPLE_RATE, Float32
from homeguard.training import alarms, blows, machines, tunes
from homeguard.training.synthesis import (
    Generator,
    add,
    crackle,
    log_uniform,
    noise,
    normal,
    seconds,
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one kind of sound is made; `make` gives float32 (n,) with peak 1, 0.2 to 9 s long."""

    name: str
    category: Category
    make: Callable[[Generator], Float32]
    in_scenes: bool = True  # False: it only teaches, and scenes stay those of earlier figures


def babble(voices: Sequence[Float32], rng: Generator) -> Float32:
    """A television or a party: two to five voices at a time over each other, 5 to 8 s, peak 1."""
    track = np.zeros(len(seconds(rng.uniform(5.0, 8.0))), dtype=np.float32)
    for _ in range(int(rng.integers(2, 6))):
        level = np.float32(rng.uniform(0.2, 1.0))
        position_s = rng.uniform(0.0, 2.0)
        while position_s * SAMPLE_RATE < len(track):
            voice = voices[int(rng.integers(len(voices)))]
            add(track, normal(voice) * level, position_s)
            position_s += len(voice) / SAMPLE_RATE + rng.exponential(0.4)
    return normal(track)


def _clicks(rng: Generator) -> Float32:
    """Typing, a mouse, a switch, a clock."""
    duration_s = rng.uniform(0.3, 5.0)
    return crackle(duration_s, rng, rng.uniform(1.0, 9.0), (rng.uniform(300.0, 2_000.0), 7_500.0))


def _quiet(rng: Generator) -> Float32:
    """A room in which nothing happens: the microphone's noise, some mains hum."""
    duration_s = rng.uniform(4.0, 8.0)
    hiss = noise(duration_s, rng, (log_uniform(rng, (20.0, 400.0)), log_uniform(rng, (600, 7.9e3))))
    return normal(
        hiss + np.resize(machines.hum(rng), len(hiss)) * np.float32(rng.uniform(0.0, 0.5))
    )


RECIPES: tuple[Recipe, ...] = (
    Recipe("smoke_alarm_t3", Category.FIRE, alarms.smoke_alarm),
    Recipe("smoke_alarm_fast", Category.FIRE, alarms.fast_smoke_alarm),
    Recipe("co_alarm_t4", Category.GAS_ACCIDENT, alarms.co_alarm),
    Recipe("gas_alarm", Category.GAS_ACCIDENT, alarms.gas_alarm),
    Recipe("gas_hiss", Category.GAS_ACCIDENT, machines.gas_hiss),
    Recipe("arcing", Category.ELECTRICAL_ACCIDENT, machines.arcing),
    Recipe("electric_buzz", Category.ELECTRICAL_ACCIDENT, machines.electric_buzz),
    Recipe("body_fall", Category.FALL, blows.fall),
    Recipe("glass_break", Category.THEFT, blows.glass_break),
    Recipe("banging", Category.TRAPPED, blows.banging),
    Recipe("collapse", Category.COLLAPSE, blows.collapse),
    Recipe("earthquake", Category.EARTHQUAKE, blows.earthquake),
    Recipe("strong_wind", Category.STORM, blows.strong_wind),
    Recipe("vacuum", Category.APPLIANCE_VACUUM, machines.vacuum),
    Recipe("washer", Category.APPLIANCE_WASHER_DRYER, machines.washer),
    Recipe("spin_or_tumble", Category.APPLIANCE_WASHER_DRYER, machines.spin_or_tumble),
    Recipe("appliance_beeps", Category.APPLIANCE_OTHER, alarms.appliance_beeps),
    Recipe("kettle", Category.APPLIANCE_OTHER, machines.kettle),
    Recipe("hum", Category.APPLIANCE_OTHER, machines.hum),
    Recipe("fan", Category.APPLIANCE_OTHER, machines.fan),
    Recipe("air_conditioner", Category.APPLIANCE_OTHER, machines.air_conditioner, in_scenes=False),
    Recipe("melody", Category.INDOOR, alarms.melody),
    Recipe("doorbell", Category.INDOOR, alarms.doorbell),
    Recipe("telephone", Category.INDOOR, alarms.telephone),
    Recipe("alarm_clock", Category.INDOOR, alarms.alarm_clock),
    Recipe("spray", Category.INDOOR, machines.spray),
    Recipe("footsteps", Category.INDOOR, blows.footsteps),
    Recipe("knock", Category.INDOOR, blows.knock),
    Recipe("door", Category.INDOOR, blows.door),
    Recipe("dishes", Category.INDOOR, blows.dishes),
    Recipe("clicks", Category.INDOOR, _clicks),
    Recipe("quiet", Category.INDOOR, _quiet),
    Recipe("music", Category.INDOOR, tunes.music),
    Recipe("drumming", Category.INDOOR, tunes.drumming, in_scenes=False),
    Recipe("reversing_lorry", Category.OUTDOOR, alarms.reversing_lorry),
)
