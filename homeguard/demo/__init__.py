"""The whole job on a recorded household scene, with everything around the daemon on loopback."""

from homeguard.demo.demo import run

__all__ = ["run"]
