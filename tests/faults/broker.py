"""Rows about the MQTT broker: a real mosquitto that is away, dies, refuses, or is flooded."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from tests.alerting.cases import SteppedClock, an_incident, end, new
from tests.faults.post import a_broker, a_config, a_gateway, a_subscriber, opened, secrets
from tests.faults.table import Outcome, Row
from tests.parts.mosquitto import Mosquitto, Subscriber, wait_until

EVENTS = "homeguard/home/events"


def events(subscriber: Subscriber) -> list[tuple[str, str, bool]]:
    """Id, type and late of each event, in the order of arrival."""
    found = [json.loads(message.text) for message in subscriber.on(EVENTS)]
    return [(e["after"]["id"], e["type"], e["after"]["late"]) for e in found]


def down_at_start(directory: Path) -> Outcome:
    with (
        a_broker(directory) as broker,
        a_gateway() as gateway,
        opened(a_config(directory / "state", broker.port, gateway), SteppedClock()) as post,
    ):
        post.desk.submit(new(an_incident()))
        post.deliver()
        texts = len(gateway.messages)
        broker.start()
        with a_subscriber(broker) as subscriber:
            post.link.wait_connected(15)  # type: ignore[union-attr]
            post.run(61)
            wait_until(lambda: bool(events(subscriber)), 5)
            came = [kind for _, kind, _ in events(subscriber)]
    passed = texts == 1 and came == ["new"]
    return Outcome(passed, f"{texts} SMS at once; MQTT after the broker came: {came}")


class Proxy:
    """Forwards one broker's port; with `deaf` set, what the broker answers is swallowed."""

    def __init__(self, target: int) -> None:
        self.deaf = threading.Event()
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(("127.0.0.1", self._target), 2)
            except OSError:
                client.close()
                continue
            for source, sink, answers in ((client, broker, False), (broker, client, True)):
                pump = partial(self._pump, source, sink, answers=answers)
                threading.Thread(target=pump, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, *, answers: bool) -> None:
        source.settimeout(None)
        try:
            while data := source.recv(65536):
                if not (answers and self.deaf.is_set()):
                    sink.sendall(data)
        except OSError:
            pass
        finally:
            for each in (source, sink):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)  # close alone would not wake the other pump
                each.close()


@contextmanager
def a_proxy(broker: Mosquitto) -> Iterator[Proxy]:
    proxy = Proxy(broker.port)
    try:
        yield proxy
    finally:
        proxy.close()


def dies_mid_publish(directory: Path) -> Outcome:
    """The broker has the message and dies before its PUBACK reaches us."""
    with a_broker(directory) as broker, a_proxy(broker) as proxy:
        broker.start()
        with (
            a_subscriber(broker) as subscriber,
            opened(a_config(directory / "state", proxy.port), SteppedClock()) as post,
        ):
            if not post.link.wait_connected(10):  # type: ignore[union-attr]
                return Outcome(passed=False, observed="no connection to begin with")
            proxy.deaf.set()
            post.desk.submit(new(an_incident()))
            sender = threading.Thread(target=post.deliver)
            sender.start()
            wait_until(lambda: len(events(subscriber)) == 1, 10)
            pending = post.states(an_incident().id)["pending"]
            subscriber.forget()
            broker.kill()
            sender.join(15)
            proxy.deaf.clear()
            broker.start()
            subscriber.await_reconnect()
            post.link.wait_connected(10)  # type: ignore[union-attr]
            post.run(10)
            post.desk.submit(end(an_incident()))
            post.deliver()
            wait_until(lambda: any(kind == "end" for _, kind, _ in events(subscriber)), 5)
            came = [(i, kind) for i, kind, _ in events(subscriber)]
            delivered = post.states(an_incident().id)
    copies = came.count((an_incident().id, "new"))
    passed = pending == 1 and 1 <= copies <= 2 and came[-1][1] == "end" and len(set(came)) == 2
    seen = f"unacknowledged, so pending; afterwards {dict(delivered)}; {copies} copies, one id"
    return Outcome(passed, seen)


def away_for_a_day(directory: Path) -> Outcome:
    clock = SteppedClock()
    incidents = [an_incident(f"{hour:016x}") for hour in range(1, 24)]
    with (
        a_broker(directory) as broker,
        a_gateway() as gateway,
        opened(a_config(directory / "state", broker.port, gateway), clock) as post,
    ):
        for incident in incidents:
            clock.step(3600)
            post.desk.submit(new(incident))
            post.desk.acknowledge(incident.id, "김철수")
            post.deliver()
        clock.step(1800)
        texts = len(gateway.messages)
        broker.start()
        with a_subscriber(broker) as subscriber:
            post.link.wait_connected(40)  # type: ignore[union-attr]
            post.outbox.hurry("mqtt")
            post.deliver()
            wait_until(lambda: len(events(subscriber)) >= 2 * len(incidents), 10)
            came = events(subscriber)
        again = len(gateway.messages) - texts
    wanted = [(i.id, kind, True) for i in incidents for kind in ("new", "update")]
    passed = came == wanted and again == 0
    return Outcome(
        passed,
        f"{len(came)} events of {len(incidents)} incidents, in order: {came == wanted}, "
        f"late: {sum(late for *_, late in came)}; SMS sent again: {again}",
    )


def refuses_credentials(directory: Path) -> Outcome:
    with (
        a_broker(directory) as broker,
        a_gateway() as gateway,
    ):
        broker.start()
        config = a_config(directory / "state", broker.port, gateway)
        with opened(config, SteppedClock(), secrets(password="wrong")) as post:
            post.desk.submit(new(an_incident()))
            connected = post.link.wait_connected(2)  # type: ignore[union-attr]
            post.deliver()
            texts, waiting = len(gateway.messages), post.states(an_incident().id)["failed"]
        with a_subscriber(broker) as subscriber, opened(config, SteppedClock()) as post:
            post.link.wait_connected(10)  # type: ignore[union-attr]
            post.deliver()
            wait_until(lambda: bool(events(subscriber)), 5)
            came = [kind for _, kind, _ in events(subscriber)]
    passed = not connected and texts == 1 and waiting == 0 and came == ["new"]
    return Outcome(passed, f"{texts} SMS meanwhile; with the right password MQTT: {came}")


def full_queue(directory: Path) -> Outcome:
    count = 500
    clock = SteppedClock()
    with a_broker(directory, ["max_inflight_messages 1"]) as broker:
        config = a_config(directory / "state", broker.port)
        with opened(config, clock) as post:
            for number in range(count):
                post.desk.submit(new(an_incident(f"{number:016x}")))
            broker.start()
            with a_subscriber(broker) as subscriber:
                post.link.wait_connected(40)  # type: ignore[union-attr]
                post.outbox.hurry("mqtt")
                post.deliver()
                wait_until(lambda: len(events(subscriber)) >= count, 20)
                came = [identity for identity, *_ in events(subscriber)]
    passed = came == [f"{number:016x}" for number in range(count)]
    return Outcome(passed, f"{len(came)} of {count} arrived, {len(set(came))} different, in order")


def forbidden_topic(directory: Path) -> Outcome:
    """The ACL does not let us write: paho alone would call it published."""
    with a_broker(directory) as broker:
        acl = broker.directory / "acl"
        acl.write_text("user homeguard\ntopic readwrite homeguard/+/status\n", encoding="utf-8")
        broker.start()
        with opened(a_config(directory / "state", broker.port), SteppedClock()) as post:
            post.link.wait_connected(10)  # type: ignore[union-attr]
            post.desk.submit(new(an_incident()))
            post.deliver()
            codes = post.codes(an_incident().id)
    return Outcome(codes == {"mqtt": "0x87"}, f"failed with the broker's code: {codes}")


ROWS = (
    Row(
        "mqtt-start",
        "broker down at start",
        "SMS goes out at once; MQTT once, when the broker comes",
        down_at_start,
    ),
    Row(
        "mqtt-mid-publish",
        "broker dies between message and PUBACK",
        "the row stays pending and is sent again with the same id: 1 or 2 copies",
        dies_mid_publish,
        limit_s=90.0,
    ),
    Row(
        "mqtt-24h",
        "broker down for a simulated 24 h, an incident an hour",
        "every event once, in order, marked late; no SMS again",
        away_for_a_day,
        limit_s=120.0,
    ),
    Row(
        "mqtt-refused",
        "broker refuses the credentials",
        "SMS goes out; the event waits, and arrives with the right password",
        refuses_credentials,
    ),
    Row(
        "mqtt-acl",
        "the broker's ACL forbids the topic",
        "not called delivered: failed with the broker's reason",
        forbidden_topic,
    ),
    Row(
        "mqtt-queue",
        "500 alerts wait, the broker takes one at a time",
        "all arrive once, in order",
        full_queue,
        limit_s=120.0,
    ),
)
