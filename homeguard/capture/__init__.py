"""Sound in: sources, gate, ring and windows."""
