"""Which font can write Korean, where one is installed."""

from __future__ import annotations

from pathlib import Path

from matplotlib import font_manager

KOREAN_FONTS = (
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "NanumGothic",
    "NanumBarunGothic",
    "Noto Sans CJK JP",
    "Source Han Sans KR",
    "UnDotum",
    "Baekmuk Dotum",
)
KOREAN_FILES = ("NotoSansCJK", "NotoSansKR", "NanumGothic", "NanumBarunGothic", "UnDotum", "dotum")


def korean_font() -> str | None:
    """The name of an installed font with Hangul, or None."""
    manager = font_manager.fontManager
    if not (known := {entry.name for entry in manager.ttflist}) & set(KOREAN_FONTS):
        # matplotlib's list of fonts is a file: one installed since then is not in it.
        for path in font_manager.findSystemFonts():
            if Path(path).stem.startswith(KOREAN_FILES):
                manager.addfont(path)
        known = {entry.name for entry in manager.ttflist}
    return next((name for name in KOREAN_FONTS if name in known), None)
