"""SMS by the real Twilio client against the gateway that answers as Twilio does."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import pytest

from homeguard.alerting.courier import Courier
from homeguard.alerting.desk import Desk
from homeguard.alerting.drills import drill
from homeguard.alerting.escalation import Planner
from homeguard.alerting.message import Texter
from homeguard.alerting.outbox import Outbox
from homeguard.alerting.records import Sent
from homeguard.alerting.sms import SentLog, SmsChannel
from homeguard.config import AlertsConfig, ConfigError, EscalationConfig, SmsConfig
from homeguard.demo.gateway import Fault, Gateway
from homeguard.domain import Contact, DeliveryError, DeliveryState
from homeguard.labels import Category
from tests.alerting.cases import KIM, LEE, START, SteppedClock, a_config, an_incident, end, new
from tests.parts.twilio import SENDER, TOKEN, sms_config

TO = Contact(KIM.name, KIM.phone)
OTHER = Contact(LEE.name, LEE.phone)


def never(_address: str, _since: datetime) -> Sequence[Sent]:
    return ()


def a_channel(
    gateway: Gateway,
    sent: SentLog = never,
    token: str = TOKEN,
    **changes: object,
) -> SmsChannel:
    config = sms_config(gateway, **changes)
    return SmsChannel(config, token, Texter(a_config()), sent, SteppedClock())


def refused(gateway: Gateway, **changes: object) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        a_channel(gateway, **changes).send(new(an_incident()), TO)  # type: ignore[arg-type]
    return caught.value


def test_a_message_goes_from_queued_to_delivered(gateway: Gateway) -> None:
    channel = a_channel(gateway)
    receipt = channel.send(new(an_incident()), TO)
    assert receipt.state is DeliveryState.ACCEPTED
    assert receipt.reference is not None
    states = [channel.poll(receipt.reference).state for _ in range(2)]
    assert states == [DeliveryState.ACCEPTED, DeliveryState.DELIVERED]
    (message,) = gateway.messages
    assert (message.to, message.sender) == (KIM.phone, SENDER)
    assert message.body == "[긴급] 화재 거실 12:12 #a1b2 할머니댁"


def test_a_messaging_service_can_be_the_sender(gateway: Gateway) -> None:
    a_channel(gateway, sender="MG" + "1" * 32).send(new(an_incident()), TO)
    assert gateway.messages[0].sender == "MG" + "1" * 32


def test_an_undelivered_message_has_failed(gateway: Gateway) -> None:
    gateway.lose(KIM.phone)
    channel = a_channel(gateway)
    reference = channel.send(new(an_incident()), TO).reference or ""
    channel.poll(reference)
    receipt = channel.poll(reference)
    assert receipt.state is DeliveryState.FAILED
    assert receipt.detail == "undelivered (error 30003)"


@pytest.mark.parametrize("code", [21211, 21610, 21614, 21408, 30000])
def test_a_refused_recipient_is_permanent(gateway: Gateway, code: int) -> None:
    gateway.refuse(KIM.phone, 400, code)
    error = refused(gateway)
    assert (error.retryable, error.code) == (False, str(code))
    assert KIM.phone not in str(error)


def test_too_many_requests_waits_as_long_as_it_is_told(gateway: Gateway) -> None:
    gateway.script(Fault(429, 20429, retry_after="7"))
    error = refused(gateway)
    assert (error.retryable, error.retry_after_s, error.code) == (True, 7.0, "20429")


def test_a_date_is_a_pause_too(gateway: Gateway) -> None:
    gateway.script(Fault(429, 20429, retry_after="Fri, 20 Nov 2020 03:12:00 GMT"))
    assert refused(gateway).retry_after_s == 0.0


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_broken_gateway_is_tried_again(gateway: Gateway, status: int) -> None:
    gateway.script(Fault(status))
    error = refused(gateway)
    assert error.retryable
    assert gateway.messages == []


def test_a_wrong_token_is_said_and_tried_again(gateway: Gateway) -> None:
    error = refused(gateway, token="wrong-token")
    assert (error.retryable, error.code) == (True, "20003")
    assert "HOMEGUARD_TWILIO_AUTH_TOKEN" in str(error)
    assert "wrong-token" not in str(error)


def test_a_gateway_that_is_away_is_tried_again(gateway: Gateway) -> None:
    error = refused(gateway, base_url="http://127.0.0.1:9")
    assert (error.retryable, error.code) == (True, "network")


def test_a_time_out_after_accept_is_found_again_and_not_sent_twice(gateway: Gateway) -> None:
    gateway.script(Fault(hang_s=5, accept=True))
    channel = a_channel(gateway, timeout_s=1.0)
    with pytest.raises(DeliveryError) as caught:
        channel.send(new(an_incident()), TO)
    assert caught.value.retryable
    receipt = channel.send(new(an_incident()), TO)
    assert receipt.reference == gateway.messages[0].sid
    assert len(gateway.messages) == 1


def test_a_time_out_before_accept_is_sent_again(gateway: Gateway) -> None:
    gateway.script(Fault(hang_s=5))
    channel = a_channel(gateway, timeout_s=1.0)
    with pytest.raises(DeliveryError):
        channel.send(new(an_incident()), TO)
    channel.send(new(an_incident()), TO)
    assert len(gateway.messages) == 1


def test_a_repeat_in_doubt_is_not_taken_for_the_first_message(gateway: Gateway) -> None:
    channel = a_channel(gateway, timeout_s=1.0)
    channel.send(new(an_incident()), TO)
    gateway.script(Fault(hang_s=5))
    with pytest.raises(DeliveryError):
        channel.send(new(an_incident()), TO)
    channel.send(new(an_incident()), TO)
    assert len(gateway.messages) == 2


def test_a_country_that_is_not_allowed_is_refused_here(gateway: Gateway) -> None:
    error = refused(gateway, countries=("+1",))
    assert (error.retryable, error.code) == (False, "country")
    assert gateway.posts == 0


def test_the_cap_of_a_day_keeps_three_for_a_new_emergency(gateway: Gateway) -> None:
    told = ["old"] * 6

    def sent(_address: str, _since: datetime) -> tuple[Sent, ...]:
        return tuple(Sent(name, ("storm", "den")) for name in told)

    channel = a_channel(gateway, sent, max_per_day=10)
    channel.send(end(an_incident("old")), TO)
    told.append("old")
    with pytest.raises(DeliveryError, match="kept for a new emergency") as caught:
        channel.send(end(an_incident("old")), TO)
    assert (caught.value.retryable, caught.value.code) == (False, "cap")
    for number in range(3):
        channel.send(new(an_incident(f"new{number}")), TO)
        told.append(f"new{number}")
    with pytest.raises(DeliveryError, match="cap of this number"):
        channel.send(new(an_incident("one more")), TO)


def test_the_account_can_be_checked(gateway: Gateway) -> None:
    assert a_channel(gateway).check_account() == "active"
    with pytest.raises(DeliveryError, match="refuses the account"):
        a_channel(gateway, token="wrong").check_account()


def test_a_token_never_travels_in_the_clear() -> None:
    config = SmsConfig(account_sid="AC", sender=SENDER, base_url="http://gateway.example")
    with pytest.raises(ConfigError, match="use https"):
        SmsChannel(config, TOKEN, Texter(a_config()), never, SteppedClock())


def test_nothing_private_reaches_a_log(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logging.getLogger("homeguard").setLevel(logging.DEBUG)
    gateway.script(Fault(hang_s=3, accept=True))
    channel = a_channel(gateway, timeout_s=1.0)
    with pytest.raises(DeliveryError):
        channel.send(new(an_incident()), TO)
    channel.send(new(an_incident()), TO)
    for secret in (KIM.phone, KIM.phone[1:], TOKEN, "불이야", "긴급"):
        assert secret not in caplog.text


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def outbox(tmp_path: Path, clock: SteppedClock) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path, clock)
    yield outbox
    outbox.close()


def test_from_the_outbox_to_both_contacts(
    gateway: Gateway, outbox: Outbox, clock: SteppedClock
) -> None:
    """First contact opted out, gateway breaks, asks for a pause, then takes it."""
    gateway.refuse(KIM.phone, 400, 21610)
    desk = Desk(outbox, Planner((KIM, LEE), EscalationConfig(), None), clock)
    channel = SmsChannel(
        sms_config(gateway),
        TOKEN,
        Texter(a_config()),
        lambda address, since: outbox.sent_to("sms", address, since),
        clock,
    )
    courier = Courier(channel, outbox, AlertsConfig(), clock)
    desk.submit(new(an_incident()))
    gateway.script(Fault(503), Fault(429, 20429, retry_after="5"))
    for _ in range(6):
        courier.deliver_due()
        clock.step(6)
    assert [message.to for message in gateway.messages] == [LEE.phone]
    record = outbox.history.show(an_incident().id)
    assert record is not None
    calls = [row for row in record.deliveries if row.kind == "first"]
    assert [(row.state, row.code) for row in calls] == [
        (DeliveryState.FAILED, "21610"),
        (DeliveryState.DELIVERED, None),
    ]
    assert outbox.sent_to("sms", LEE.phone, clock.at.replace(year=2020)) == (
        Sent(an_incident().id, ("fire", "living-room")),
    )


def test_an_eleventh_message_in_an_hour_waits_but_what_is_new_does_not(gateway: Gateway) -> None:
    fire = an_incident("old")
    said = [Sent("old", (fire.category, fire.room))] * 10
    channel = a_channel(gateway, lambda _address, _since: said)
    for alert in (end(fire), new(an_incident("the same again"))):
        with pytest.raises(DeliveryError) as caught:
            channel.send(alert, TO)
        assert (caught.value.retryable, caught.value.code) == (True, "hour")
    channel.send(new(an_incident("other", category=Category.ROBBERY)), TO)
    channel.send(new(an_incident("elsewhere", room="kitchen")), TO)
    assert len(gateway.messages) == 2


def test_a_test_leaves_what_is_kept_for_an_emergency(gateway: Gateway) -> None:
    def used_up(_address: str, _since: datetime) -> Sequence[Sent]:
        return [Sent(str(number), ("fire", "den")) for number in range(47)]

    channel = a_channel(gateway, used_up, max_per_hour=100)
    with pytest.raises(DeliveryError) as caught:
        channel.send(drill("den", START), TO)
    assert caught.value.code == "cap"
    assert channel.send(new(an_incident()), TO).state is DeliveryState.ACCEPTED


def test_a_test_is_put_off_like_any_other_message(gateway: Gateway) -> None:
    def many(_address: str, _since: datetime) -> Sequence[Sent]:
        return [Sent(str(number), ("fire", "den")) for number in range(10)]

    with pytest.raises(DeliveryError) as caught:
        a_channel(gateway, many).send(drill("attic", START), TO)
    assert (caught.value.code, caught.value.retryable) == ("hour", True)


def test_test_credentials_are_said_when_a_message_is_asked_after(gateway: Gateway) -> None:
    gateway.test_credentials = True
    channel = a_channel(gateway)
    receipt = channel.send(new(an_incident()), TO)
    with pytest.raises(DeliveryError, match="test credentials") as caught:
        channel.poll(receipt.reference or "")
    assert caught.value.retryable


def test_a_suspended_account_is_no_fault_of_the_number(gateway: Gateway) -> None:
    gateway.script(Fault(403, 20005))
    error = refused(gateway)
    assert error.retryable
    assert "refuses the account" in str(error)
