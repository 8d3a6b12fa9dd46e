"""Alerts out: incidents, clips, outbox and channels."""
