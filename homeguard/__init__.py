"""HomeGuard: a self-hosted daemon that listens to a home and calls for help."""

__version__ = "0.1.0"
