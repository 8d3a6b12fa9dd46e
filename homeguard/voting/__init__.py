"""Judging: features, three voters, vote and smoothing."""
