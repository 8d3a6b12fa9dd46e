"""Where sound comes from, and what of it is worth hearing."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from homeguard.config.section import Probability, Seconds, Section, Slug


class RoomConfig(Section):
    """A room and its source: exactly one of microphone, url and file."""

    name: Slug
    label: str = Field("", description="what people call the room; the name when empty")
    microphone: str | None = Field(None, description="device name as `homeguard devices` prints it")
    url: str | None = Field(None, description="RTSP or HTTP stream")
    file: Path | None = Field(None, description="a recording, read once")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.microphone, self.url, self.file)) != 1:
            message = "give exactly one of microphone, url and file"
            raise ValueError(message)
        return self


class WindowConfig(Section):
    """The sound that one decision is about."""

    length_s: float = Field(5.0, ge=2.0, le=30.0)
    hop_s: float = Field(1.0, ge=0.25, le=30.0)

    @model_validator(mode="after")
    def _overlap(self) -> Self:
        if self.hop_s > self.length_s:
            message = "hop_s must not exceed length_s: sound between windows would go unheard"
            raise ValueError(message)
        return self


class GateConfig(Section):
    """What is worth hearing."""

    margin_db: float = Field(6.0, ge=0.0, le=40.0, description="above the noise floor")
    floor_window_s: float = Field(30.0, ge=2.0, description="how far back the floor looks")
    floor_settle_s: float = Field(30.0, ge=0.0, description="until then the gate stays open")
    open_dbfs: float = Field(-25.0, le=0.0, description="always open above this level")
    min_dbfs: float = Field(-75.0, le=0.0, description="never open below this level")
    hold_s: Seconds = Field(1.0, description="stays open after the last active chunk")
    relisten_s: Seconds = Field(
        60.0, description="a room that grew louder is heard so often though steady; 0: never"
    )
    relisten_for_s: Seconds = Field(7.0, description="and for so long each time")
    vad_mode: Literal[0, 1, 2, 3] = Field(2, description="webrtcvad's aggressiveness")
    speech_probability: Probability = Field(0.5, description="Silero's confirmation")
    speech_gap_s: Seconds = Field(0.4, description="pauses shorter than this join stretches")
