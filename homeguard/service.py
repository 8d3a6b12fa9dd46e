"""The daemon as a service: ended by a signal, started anew with another configuration."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from homeguard.config import Config, Secrets
from homeguard.daemon import Daemon
from homeguard.domain import HomeGuardError
from homeguard.notify import Notifier
from homeguard.reload import Reload
from homeguard.voting.load import serve
from homeguard.voting.nursery import Nursery

_log = logging.getLogger(__name__)


def run(config: Config, secrets: Secrets, reread: Callable[[], Config]) -> None:
    """Listen until SIGTERM or SIGINT; a recording's end stops nothing.

    SIGHUP asks `reread` for another configuration and goes on with it; with the old one where it
    raises HomeGuardError, or the daemon cannot start with it.
    Raises HomeGuardError where the daemon cannot do its job at all: no voter, a second daemon on
    the same state directory, a database that cannot be opened.
    """
    nursery = Nursery(serve)  # before there are threads
    stop, halt = threading.Event(), threading.Event()
    reload, notifier = Reload(reread, halt), Notifier()
    reload.start()
    worked: Config | None = None
    with _signals(stop, halt, reload):
        while not stop.is_set():
            halt.clear()
            reload.config = None
            try:
                _run_once(config, secrets, nursery, notifier, stop, halt)
            except HomeGuardError as exc:
                if worked is None or config is worked:
                    raise
                _log.error("the new configuration does not work, back to the old one: %s", exc)
                config = worked
            else:
                worked, config = config, reload.config or config
        notifier.stopping()
    reload.stop()
    nursery.close()


def _run_once(
    config: Config,
    secrets: Secrets,
    nursery: Nursery,
    notifier: Notifier,
    stop: threading.Event,
    halt: threading.Event,
) -> None:
    with ExitStack() as stack:
        daemon = Daemon(config, secrets, stack, nursery=nursery, notifier=notifier)
        if stop.is_set():  # while models were loaded
            halt.set()
        daemon.run(halt)


@contextmanager
def _signals(stop: threading.Event, halt: threading.Event, reload: Reload) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop` and `halt` while this lasts, SIGHUP asks for a reload."""

    def end(*_: object) -> None:
        stop.set()
        halt.set()

    wanted = {signal.SIGTERM: end, signal.SIGINT: end, signal.SIGHUP: lambda *_: reload.ask()}
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
