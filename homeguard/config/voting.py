"""The voters, and what makes an incident of their votes."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from homeguard.config.section import Probability, Seconds, Section
from homeguard.labels import Category


class VoterConfig(Section):
    """A sound voter; empty values take what the model's manifest says."""

    enabled: bool = True
    model: str = Field("", description="name in the manifest; the set's when empty")
    threshold: Probability | None = Field(None, description="emergency at or above")
    deadline_ms: int = Field(1000, ge=10, description="later than this abstains")


class TranscriptConfig(VoterConfig):
    """The transcript voter."""

    deadline_ms: int = Field(3000, ge=10)
    language: Literal["auto", "ko", "en"] = Field("auto", description="of the decoder")
    extra_phrases: tuple[str, ...] = Field((), description="also a call for help when heard")
    context_s: float = Field(5.0, ge=2.0, le=30.0, description="sound that the decoder sees")
    beam_size: int = Field(4, ge=1, le=10)
    max_tokens: int = Field(64, ge=4, le=224)
    min_logprob: float = Field(-0.6, description="mean per token; below is unsure")
    max_no_speech: Probability = 0.6
    max_compression: float = Field(2.4, description="gzip ratio; above is repetition")


class VotersConfig(Section):
    """The three voters."""

    set: str = Field("", description="which set of models; the manifest's default when empty")
    encoder: VoterConfig = VoterConfig()
    transcript: TranscriptConfig = TranscriptConfig()
    cnn: VoterConfig = VoterConfig()


class DecisionConfig(Section):
    """From votes to incidents."""

    votes_needed: int = Field(2, ge=1, le=3)
    skip_settled: bool = Field(True, description="do not ask a voter that cannot matter")
    onset_windows: int = Field(3, ge=1, description="agreeing windows that open an incident")
    onset_of: int = Field(5, ge=1, description="among so many last windows")
    hangover_s: Seconds = Field(10.0, description="quiet that ends an incident")
    thresholds: dict[Category, Probability] = Field(
        default_factory=dict, description="sound voters' threshold by category"
    )
    distress_phrases: Literal["alert", "vote"] = "alert"
    distress_within_s: Seconds = Field(20.0, description="two calls within this raise an alert")
    distress_lean: Probability = Field(0.3, description="one call, and a sound voter this sure")
    share_s: Seconds = Field(5.0, description="rooms that hear the same within this share it")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.onset_windows > self.onset_of:
            message = f"onset_windows ({self.onset_windows}) exceeds onset_of ({self.onset_of})"
            raise ValueError(message)
        return self

    @field_validator("thresholds")
    @classmethod
    def _emergencies(cls, value: dict[Category, float]) -> dict[Category, float]:
        if normal := [c.value for c in value if not c.is_emergency]:
            message = f"not an emergency: {', '.join(normal)}"
            raise ValueError(message)
        return value
