"""Rows about the weekly test: what would keep an alert from people keeps the test from them too."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

from homeguard.alerting.drills import DrillState, WeeklyDrill
from homeguard.demo.gateway import Fault, Gateway
from tests.alerting.cases import START, SteppedClock
from tests.faults.post import Post, a_broker, a_config, a_gateway, opened, secrets
from tests.faults.table import Outcome, Row
from tests.parts.mosquitto import wait_until

MOMENT = f"{START + timedelta(minutes=10):%a %H:%M}".lower()  # ten minutes after the start


def weekly(post: Post) -> WeeklyDrill:
    return WeeklyDrill(
        post.outbox.drills,
        MOMENT,
        "living-room",
        lambda at: at,
        post.desk.submit,
        post.clock,
        post.clock.since_boot,
    )


def a_week(
    directory: Path, *, harm: Callable[[Gateway], None], token: str | None = None
) -> Outcome:
    """Twenty minutes before the test to two hours after it, by a stepped clock."""
    clock = SteppedClock()
    with a_broker(directory) as broker, a_gateway() as gateway:
        broker.start()
        harm(gateway)
        held = secrets(token=token) if token else secrets()
        config = a_config(directory / "state", broker.port, gateway)
        with opened(config, clock, held) as post:
            assert post.link is not None
            post.link.wait_connected(10.0)
            drill, state = weekly(post), DrillState(None, None, None)
            for _ in range(26):
                state = drill.look()
                post.run(300.0, step_s=100.0)
            state = drill.look()
            failing = drill.failing
            sent = [i for i in post.outbox.history.incidents() if i.state == "test"]
        texts = len(gateway.messages)
    why = f"fault: {failing[1]}" if failing else "no fault"
    return Outcome(
        passed=len(sent) == 1 and (state.passed_at is None) == (failing is not None),
        observed=f"{len(sent)} test, {texts} texts; passed: {state.passed_at is not None}; {why}",
    )


def arrives(directory: Path) -> Outcome:
    outcome = a_week(directory, harm=lambda _: None)
    good = outcome.passed and "3 texts; passed: True" in outcome.observed
    return Outcome(good, outcome.observed)


def fails(
    directory: Path, *, harm: Callable[[Gateway], None], said: str, token: str = ""
) -> Outcome:
    outcome = a_week(directory, harm=harm, token=token or None)
    good = outcome.passed and said in outcome.observed and "passed: False" in outcome.observed
    return Outcome(good, outcome.observed)


def takes_and_sends_none(gateway: Gateway) -> None:
    gateway.test_credentials = True


def suspended(gateway: Gateway) -> None:
    gateway.script(*[Fault(403, 20005)] * 5000)


def broker_away(directory: Path) -> Outcome:
    """The broker is gone when the test is due, and comes back three hours later."""
    clock = SteppedClock()
    with a_broker(directory) as broker, a_gateway() as gateway:
        broker.start()
        config = a_config(directory / "state", broker.port, gateway)
        with opened(config, clock) as post:
            assert post.link is not None
            post.link.wait_connected(10.0)
            drill = weekly(post)
            drill.look()
            broker.kill()
            wait_until(lambda: post.link is not None and not post.link.connected, 10)
            for _ in range(26):
                post.run(300.0, step_s=60.0)
                drill.look()
            away = drill.failing
            broker.start()
            post.link.wait_connected(40.0)
            post.outbox.hurry("mqtt")
            post.run(120.0, step_s=30.0)
            state = drill.look()
    passed = away is not None and "mqtt" in away[1] and state.passed_at is not None
    return Outcome(
        passed and drill.failing is None,
        f"fault: {away[1] if away else None}; back: passed {state.passed_at is not None}",
    )


_FAULT = "it does not pass: a fault that says why"

ROWS = (
    Row("test-weekly", "nothing is wrong on the day of the weekly test", "it passes", arrives),
    Row(
        "test-credentials",
        "the account has test credentials: the gateway takes texts and sends none",
        _FAULT,
        partial(fails, harm=takes_and_sends_none, said="test credentials"),
    ),
    Row(
        "test-401",
        "the token is wrong when the weekly test is due",
        _FAULT,
        partial(fails, harm=lambda _: None, said="refuses the account", token="wrong"),
    ),
    Row(
        "test-suspended",
        "the account is suspended when the weekly test is due",
        _FAULT,
        partial(fails, harm=suspended, said="refuses the account"),
    ),
    Row(
        "test-broker",
        "the broker is away when the weekly test is due",
        "a fault that names it; over when the test arrives",
        broker_away,
        limit_s=120.0,
    ),
)
