"""The 19 categories: 14 emergencies and 5 normal classes, in the order every model uses.

Source: the categories of the University of Seoul system (Whisper for emergency sound and speech
in the home), which take them from AI-Hub set 170 and AI-Hub's appliance noise recordings.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Priority = Literal["critical", "high", "medium"]


class Category(StrEnum):
    """A category by its slug; iteration order is the order of every model's outputs."""

    SEXUAL_ASSAULT = "sexual_assault"
    ROBBERY = "robbery"
    THEFT = "theft"
    VIOLENCE = "violence"
    FIRE = "fire"
    TRAPPED = "trapped"
    MEDICAL_EMERGENCY = "medical_emergency"
    ELECTRICAL_ACCIDENT = "electrical_accident"
    GAS_ACCIDENT = "gas_accident"
    FALL = "fall"
    COLLAPSE = "collapse"
    STORM = "storm"
    EARTHQUAKE = "earthquake"
    HELP_REQUEST = "help_request"
    INDOOR = "indoor"
    OUTDOOR = "outdoor"
    APPLIANCE_WASHER_DRYER = "appliance_washer_dryer"
    APPLIANCE_VACUUM = "appliance_vacuum"
    APPLIANCE_OTHER = "appliance_other"

    @property
    def info(self) -> CategoryInfo:
        """Names, group and priority."""
        return _INFO[self]

    @property
    def is_emergency(self) -> bool:
        """Whether the category calls for help."""
        return _INFO[self].priority is not None

    def name_in(self, language: str) -> str:
        """The category's name in `language` ("ko" or "en")."""
        return _INFO[self].korean if language == "ko" else _INFO[self].english


@dataclass(frozen=True, slots=True)
class CategoryInfo:
    """What people call a category, who answers it, how urgent it is (None: not an emergency)."""

    korean: str
    english: str
    aihub: str
    group: str
    priority: Priority | None


_PUBLIC = "public safety"
_FIRE = "fire service"
_ACCIDENT = "accident"
_NATURE = "natural disaster"

_INFO: dict[Category, CategoryInfo] = {
    Category.SEXUAL_ASSAULT: CategoryInfo(
        "강제추행", "Sexual assault", "강제추행(성범죄)", _PUBLIC, "critical"
    ),
    Category.ROBBERY: CategoryInfo("강도", "Robbery", "강도범죄", _PUBLIC, "critical"),
    Category.THEFT: CategoryInfo("침입·절도", "Break-in", "절도범죄", _PUBLIC, "high"),
    Category.VIOLENCE: CategoryInfo("폭력", "Violence", "폭력범죄", _PUBLIC, "critical"),
    Category.FIRE: CategoryInfo("화재", "Fire", "화재", _FIRE, "critical"),
    Category.TRAPPED: CategoryInfo("갇힘", "Trapped", "갇힘", _FIRE, "high"),
    Category.MEDICAL_EMERGENCY: CategoryInfo(
        "응급의료", "Medical emergency", "응급의료", _FIRE, "critical"
    ),
    Category.ELECTRICAL_ACCIDENT: CategoryInfo(
        "전기사고", "Electrical accident", "전기사고", _FIRE, "high"
    ),
    Category.GAS_ACCIDENT: CategoryInfo("가스사고", "Gas accident", "가스사고", _FIRE, "critical"),
    Category.FALL: CategoryInfo("낙상", "Fall", "낙상", _ACCIDENT, "high"),
    Category.COLLAPSE: CategoryInfo("붕괴사고", "Collapse", "붕괴사고", _ACCIDENT, "high"),
    Category.STORM: CategoryInfo("태풍·강풍", "Storm", "태풍-강풍", _NATURE, "medium"),
    Category.EARTHQUAKE: CategoryInfo("지진", "Earthquake", "지진", _NATURE, "high"),
    Category.HELP_REQUEST: CategoryInfo(
        "도움요청", "Call for help", "도움요청", "general", "critical"
    ),
    Category.INDOOR: CategoryInfo("실내", "Indoor", "실내", "normal", None),
    Category.OUTDOOR: CategoryInfo("실외", "Outdoor", "실외", "normal", None),
    Category.APPLIANCE_WASHER_DRYER: CategoryInfo(
        "세탁기·건조기", "Washer or dryer", "가전소음_세탁기,건조기", "appliance", None
    ),
    Category.APPLIANCE_VACUUM: CategoryInfo(
        "청소기", "Vacuum cleaner", "가전소음_청소기", "appliance", None
    ),
    Category.APPLIANCE_OTHER: CategoryInfo(
        "기타 가전", "Other appliance", "가전소음_기타소음", "appliance", None
    ),
}

EMERGENCIES: tuple[Category, ...] = tuple(c for c in Category if c.is_emergency)
NORMALS: tuple[Category, ...] = tuple(c for c in Category if not c.is_emergency)
