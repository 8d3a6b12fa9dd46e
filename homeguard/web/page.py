"""The page of an incident, Korean or English, in one piece: nothing else is fetched."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from string import Template

from homeguard.domain import Contact, Incident, IncidentState

STYLE = """
:root{color-scheme:light dark}body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;
margin:0 auto;padding:1.5rem}h1{font-size:1.6rem}dt{opacity:.7}dd{margin:0 0 .7rem;font-weight:600}
audio,img,button{width:100%}button{font:inherit;font-weight:700;padding:1rem;border:0;
border-radius:.6rem;background:#b3261e;color:#fff}.done{padding:1rem;border-radius:.6rem;
background:#1b5e20;color:#fff}
"""
_PAGE = Template("""<!doctype html>
<html lang="$language"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex"><title>HomeGuard</title><style>$style</style></head>
<body><h1>$title</h1>$body</body></html>
""")
_WORDS = {
    "ko": {
        "where": "장소",
        "when": "시각",
        "home": "집",
        "address": "주소",
        "words": "들린 말",
        "listen": "그때의 소리",
        "picture": "소리 그림",
        "no_clip": "들을 수 있는 녹음이 없습니다.",
        "ack": "제가 확인하겠습니다",
        "explain": "누르면 다른 보호자에게 알리고, 더 이상 전화하거나 문자하지 않습니다.",
        "taken": "확인한 사람: {}",
        "test": "시험 알림입니다. 아무것도 하지 않으셔도 됩니다.",
        "ended": "소리 그침",
        "gone": "이 링크는 쓸 수 없습니다",
        "gone_why": "기간이 지났거나 올바르지 않습니다. 최근 문자의 링크를 눌러 주세요.",
    },
    "en": {
        "where": "Where",
        "when": "When",
        "home": "Home",
        "address": "Address",
        "words": "Words heard",
        "listen": "What was heard",
        "picture": "Picture of the sound",
        "no_clip": "There is no recording to hear.",
        "ack": "I take care of it",
        "explain": "The others are told that you do, and nobody further is called.",
        "taken": "Taken care of by {}",
        "test": "This is a test. There is nothing to do.",
        "ended": "Sound ended",
        "gone": "This link opens nothing",
        "gone_why": "It has expired or is not right. Use the link of the latest message.",
    },
}


@dataclass(frozen=True, slots=True)
class Sight:
    """What a page shows beside the incident itself; texts as people read them."""

    room: str
    when: str
    home: str
    address: str
    words: str | None
    ended: str | None
    has_clip: bool
    has_picture: bool


def incident_page(incident: Incident, contact: Contact, sight: Sight, path: str) -> str:
    """The page of an incident for a contact; `path` is that of the page itself."""
    language = contact.language if contact.language in _WORDS else "en"
    words = _WORDS[language]
    facts = [
        (words["where"], sight.room),
        (words["when"], sight.when),
        (words["ended"], sight.ended),
        (words["home"], sight.home),
        (words["address"], sight.address),
        (words["words"], sight.words),
    ]
    listed = "".join(f"<dt>{k}</dt><dd>{escape(v)}</dd>" for k, v in facts if v)
    body = f"<dl>{listed}</dl>"
    if sight.has_clip:
        body += f'<p>{words["listen"]}</p><audio controls preload="none" src="{path}/clip"></audio>'
    else:
        body += f"<p>{words['no_clip']}</p>"
    if sight.has_picture:
        body += f'<p><img alt="{words["picture"]}" src="{path}/picture"></p>'
    body += _action(incident, words, path)
    return _whole(language, incident.category.name_in(language), body)


def gone_page() -> str:
    """The page of a link that opens nothing: in both languages, for nobody knows who asks."""
    body = "".join(
        f'<p lang="{language}"><b>{words["gone"]}.</b> {words["gone_why"]}</p>'
        for language, words in _WORDS.items()
    )
    return _whole("ko", "HomeGuard", body)


def _action(incident: Incident, words: dict[str, str], path: str) -> str:
    if incident.state is IncidentState.TEST:
        return f"<p>{words['test']}</p>"
    if incident.acknowledged_by is not None:
        return f'<p class="done">{escape(words["taken"].format(incident.acknowledged_by))}</p>'
    # Only a form's POST acknowledges: previews and scanners of messages fetch every link.
    return (
        f'<form method="post" action="{path}/ack"><button>{words["ack"]}</button></form>'
        f"<p>{words['explain']}</p>"
    )


def _whole(language: str, title: str, body: str) -> str:
    return _PAGE.substitute(language=language, style=STYLE, title=escape(title), body=body)
