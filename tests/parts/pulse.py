"""A real virtual microphone: PulseAudio's null sink, whose monitor PortAudio opens through ALSA."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SINK = "room"
MICROPHONE = "vmic"  # as PortAudio lists it
OTHER = f"{SINK}.monitor"  # the source that the server falls back to
TOOLS = ("pulseaudio", "pactl", "paplay")

# `norewinds`: without it the monitor begins 1.5 s late.
_SINK = ["module-null-sink", f"sink_name={SINK}", "norewinds=1", "rate=48000", "channels=2"]
_SOURCE = ["module-remap-source", f"source_name={MICROPHONE}", f"master={SINK}.monitor"]

_ASOUND = f"""\
</usr/share/alsa/alsa.conf>
pcm.{MICROPHONE} {{
  type pulse
  device {MICROPHONE}
  hint {{ show on description "virtual microphone" }}
}}
"""


@dataclass(slots=True)
class VirtualMicrophone:
    """A sound server with one microphone; what is played is what it hears."""

    directory: Path
    _server: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find this server and this microphone, and no other."""
        folder = str(self.directory)
        return {
            "HOME": folder,
            "XDG_RUNTIME_DIR": folder,
            "PULSE_RUNTIME_PATH": f"{folder}/run",
            "PULSE_STATE_PATH": f"{folder}/state",
            "PULSE_SERVER": f"unix:{folder}/native",
            "ALSA_CONFIG_PATH": f"{folder}/asound.conf",
        }

    def start(self) -> None:
        """Start the server, plug the microphone in, wait until both are there."""
        (self.directory / "asound.conf").write_text(_ASOUND, encoding="utf-8")
        (self.directory / "native").unlink(missing_ok=True)
        self._server = subprocess.Popen(
            [
                "pulseaudio",
                *("-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1"),
                *("--disable-shm=true", "--realtime=no", "--high-priority=no"),
                "-L",
                f"module-native-protocol-unix socket={self.directory}/native auth-anonymous=1",
            ],
            env=os.environ | self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ends = time.monotonic() + 15.0
        while self._pactl("info", check=False).returncode:
            assert time.monotonic() < ends, "pulseaudio does not answer"
            time.sleep(0.05)
        self.plug()

    def plug(self) -> None:
        """Plug the microphone in."""
        self._pactl("load-module", *_SINK)
        self._pactl("load-module", *_SOURCE, "channels=1")
        self._pactl("set-default-source", MICROPHONE)

    def unplug(self) -> None:
        """Pull the microphone out, as a USB cable is pulled."""
        self._pactl("unload-module", "module-remap-source")
        self._pactl("unload-module", "module-null-sink")

    def move_elsewhere(self) -> None:
        """Move who records to another source, while the microphone stays."""
        listed = self._pactl("list", "short", "source-outputs").stdout.decode()
        for line in listed.splitlines():
            # The remapped source records from the monitor itself: that one has no client.
            number, _, client, *_ = line.split("\t")
            if client != "-":
                self._pactl("move-source-output", number, OTHER)

    def take_away(self) -> None:
        """Pull the microphone out where another source is left: the server moves who records."""
        self._pactl("unload-module", "module-remap-source")

    def bring_back(self) -> None:
        """Plug in again what `take_away` pulled out."""
        self._pactl("load-module", *_SOURCE, "channels=1")
        self._pactl("set-default-source", MICROPHONE)

    def stop(self, *, stopped: bool = True) -> None:
        """SIGSTOP the sound server, or let it go on."""
        if self._server is not None:
            self._server.send_signal(signal.SIGSTOP if stopped else signal.SIGCONT)

    def freeze(self, *, frozen: bool = True) -> None:
        """Let the microphone stand still without an error, or go on."""
        self._pactl("suspend-source", MICROPHONE, "1" if frozen else "0")

    def kill(self) -> None:
        """SIGKILL the sound server."""
        if self._server is not None:
            self._server.send_signal(signal.SIGKILL)
            self._server.wait(10)
            self._server = None

    def play(self, recording: Path) -> subprocess.Popen[bytes]:
        """Play a recording into the room; wait for the process to have it played to the end."""
        return subprocess.Popen(
            ["paplay", f"--device={SINK}", str(recording)],
            env=os.environ | self.environment,
            stderr=subprocess.DEVNULL,
        )

    def _pactl(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["pactl", *words],
            env=os.environ | self.environment,
            check=check,
            capture_output=True,
            timeout=20,
        )


def pulse_or_skip() -> None:
    """Skip on a user's machine without the sound server or PortAudio; fail in CI."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    try:
        import sounddevice  # noqa: F401, PLC0415 - loaded only where it is needed
    except OSError:
        missing.append("PortAudio")
    if not missing:
        return
    reason = (
        f"{', '.join(missing)} missing: apt install --no-install-recommends pulseaudio "
        "pulseaudio-utils libasound2-plugins libportaudio2"
    )
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def virtual_microphone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[VirtualMicrophone]:
    """A running sound server whose microphone is called MICROPHONE, also for this process."""
    pulse_or_skip()
    directory = tmp_path / "pulse"
    directory.mkdir(mode=0o700)
    microphone = VirtualMicrophone(directory)
    for name, value in microphone.environment.items():
        monkeypatch.setenv(name, value)
    microphone.start()
    yield microphone
    microphone.kill()
