"""Rows about the SMS gateway: the real twilio client against one that fails as Twilio does."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from homeguard.demo.gateway import Fault, Gateway
from tests.alerting.cases import SteppedClock, an_incident, new
from tests.faults.post import (
    KIM,
    LEE,
    a_broker,
    a_config,
    a_gateway,
    a_subscriber,
    first_time,
    opened,
    secrets,
)
from tests.faults.table import Outcome, Row
from tests.parts.mosquitto import free_port, wait_until


def to(gateway: Gateway, number: str) -> int:
    """How many messages a number was sent."""
    return sum(message.to == number for message in gateway.messages)


def busy(fault: Fault, at_least_s: float, at_most_s: float, directory: Path) -> Outcome:
    """One answer goes wrong; the first contact must have the text within so many seconds."""
    with (
        a_gateway() as gateway,
        opened(a_config(directory / "state", None, gateway), SteppedClock()) as post,
    ):
        gateway.script(fault)
        post.desk.submit(new(an_incident()))
        took_s = first_time(lambda: to(gateway, KIM) > 0, post, 120)
        post.run(5)
        copies, others = to(gateway, KIM), to(gateway, LEE)
    passed = at_least_s <= took_s <= at_most_s and (copies, others) == (1, 0)
    return Outcome(passed, f"sent after {took_s:.0f} s, {copies} copy, {others} to others")


def timeout_after_accept(directory: Path) -> Outcome:
    with (
        a_gateway() as gateway,
        opened(a_config(directory / "state", None, gateway), SteppedClock()) as post,
    ):
        gateway.script(Fault(hang_s=3.0, accept=True), Fault(hang_s=3.0, accept=True))
        post.desk.submit(new(an_incident()))
        post.run(30)
        copies, state = to(gateway, KIM), post.outbox.history.show(an_incident().id)
    first = state.deliveries[0].state if state else None
    passed = 1 <= copies <= 2 and first == "delivered"
    return Outcome(passed, f"{copies} copy at the contact, the row is {first}")


def refused_number(code: int, directory: Path) -> Outcome:
    with (
        a_gateway() as gateway,
        opened(a_config(directory / "state", None, gateway), SteppedClock()) as post,
    ):
        gateway.refuse(KIM, 400, code)
        post.desk.submit(new(an_incident()))
        took_s = first_time(lambda: to(gateway, LEE) > 0, post, 59)
        tried = gateway.posts
        post.run(30, step_s=5.0)
        again = gateway.posts - tried
        codes = post.codes(an_incident().id)
        fault = post.troubles()
    passed = took_s <= 5 and again == 0 and codes.get("김철수") == str(code)
    passed = passed and fault == ["contact 김철수"]
    return Outcome(
        passed,
        f"next contact after {took_s:.0f} s, the number tried again {again} times, "
        f"recorded {codes}, fault: {fault}",
    )


def wrong_token(directory: Path) -> Outcome:
    with a_gateway() as gateway:
        config = a_config(directory / "state", None, gateway)
        clock = SteppedClock()
        with opened(config, clock, secrets(token="wrong")) as post:
            post.desk.submit(new(an_incident()))
            post.run(70)
            refused, failed = to(gateway, KIM), post.states(an_incident().id)["failed"]
            fault = post.troubles()
        with opened(config, clock) as post:
            post.deliver()
            sent = to(gateway, KIM)
    passed = (refused, failed, sent, fault) == (0, 0, 1, ["channel sms"])
    seen = f"waits ({failed} given up), fault: {fault}; {sent} sent once the token is right"
    return Outcome(passed, seen)


def both_down(directory: Path) -> Outcome:
    clock = SteppedClock()
    port = free_port()
    with a_broker(directory) as broker, a_gateway() as gateway:
        config = a_config(directory / "state", broker.port, gateway)
        dead = config.model_copy(
            update={"sms": config.sms.model_copy(update={"base_url": f"http://127.0.0.1:{port}"})}
        )
        with opened(dead, clock) as post:
            post.desk.submit(new(an_incident()))
            post.run(23 * 3600, step_s=300)
            waiting = post.states(an_incident().id)
        broker.start()
        with a_subscriber(broker) as subscriber, opened(config, clock) as post:
            post.link.wait_connected(10)  # type: ignore[union-attr]
            post.run(5)
            wait_until(lambda: bool(subscriber.on("homeguard/home/events")), 5)
            events = len(subscriber.on("homeguard/home/events"))
        texts = {number: to(gateway, number) for number in (KIM, LEE)}
        late = all("지연" in message.body for message in gateway.messages if message.to == KIM)
    passed = waiting["failed"] == 0 and events == 1 and texts == {KIM: 1, LEE: 1} and late
    return Outcome(
        passed,
        f"for 23 h {waiting['pending']} messages waited, {waiting['failed']} given up; then "
        f"{events} event, SMS {list(texts.values())}, marked late: {late}",
    )


ROWS = (
    Row(
        "sms-429",
        "429 with Retry-After: 30",
        "sent once, not before 30 s, within 60 s",
        partial(busy, Fault(429, 20429, "30"), 30, 60),
    ),
    Row("sms-500", "HTTP 500", "backoff, sent once within 5 s", partial(busy, Fault(500), 0, 5)),
    Row("sms-503", "HTTP 503", "backoff, sent once within 5 s", partial(busy, Fault(503), 0, 5)),
    Row(
        "sms-silent",
        "the gateway takes nothing and says nothing",
        "time-out, sent once within 5 s",
        partial(busy, Fault(hang_s=3.0), 0, 5),
    ),
    Row(
        "sms-timeout",
        "time-out after the gateway accepted, twice",
        "at most 2 copies; the row is delivered",
        timeout_after_accept,
    ),
    Row(
        "sms-21211",
        "21211: no valid number",
        "no retry, next contact within 5 s, a fault",
        partial(refused_number, 21211),
    ),
    Row(
        "sms-21610",
        "21610: the contact opted out",
        "no retry, next contact within 5 s, a fault",
        partial(refused_number, 21610),
    ),
    Row(
        "sms-401",
        "401: the token is wrong",
        "nothing is given up, a fault; sent when the token is right",
        wrong_token,
    ),
    Row(
        "both-down",
        "broker and gateway both away for a simulated 23 h",
        "nothing is given up; then each contact gets one text, marked late",
        both_down,
        limit_s=90.0,
    ),
)
