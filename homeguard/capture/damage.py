"""What was wrong with a recording that could still be read."""

from __future__ import annotations

from dataclasses import dataclass

SHORTFALL = 0.95  # of the length a file claims; holding less than this is worth a warning


@dataclass(slots=True)
class Damage:
    """Filled while it is read; its text is empty where nothing was wrong."""

    packets: int = 0  # skipped because they do not decode
    nonfinite: int = 0  # samples that were no number
    claimed_s: float | None = None  # length by the header
    heard_s: float = 0.0  # length decoded
    stopped: str | None = None  # why reading ended before the end

    def __str__(self) -> str:
        said = []
        if self.stopped:
            said.append(f"reading stopped after {self.heard_s:.1f} s: {self.stopped}")
        elif self.claimed_s and self.heard_s < SHORTFALL * self.claimed_s:
            said.append(f"cut short: {self.heard_s:.1f} s of {self.claimed_s:.1f} s are there")
        if self.packets:
            said.append(f"{self.packets} damaged packets skipped")
        if self.nonfinite:
            said.append(f"{self.nonfinite} samples were not numbers")
        return "; ".join(said)
