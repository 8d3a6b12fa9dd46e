"""Why a voter said what it said, seen and heard. The lab's; the daemon imports nothing of it."""
