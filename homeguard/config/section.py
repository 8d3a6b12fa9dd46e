"""What the sections of the configuration have in common."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Language = Literal["ko", "en"]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(ge=0.0)]
SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def _slug(value: str) -> str:
    if not SLUG.fullmatch(value):
        message = "use lower-case letters, digits, - and _ (it becomes part of MQTT topics)"
        raise ValueError(message)
    return value


Slug = Annotated[str, AfterValidator(_slug)]


class Section(BaseModel):
    """A part of the configuration: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
