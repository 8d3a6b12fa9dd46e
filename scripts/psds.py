"""PSDS (Bilen et al. 2020) of operating points; runs in the environment that scripts/psds makes."""

# ruff: noqa: INP001, T201 - a script, whose output is the result

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import pandas as pd
from psds_eval import PSDSEval

# A voter hears 5 s at a time, so an event's place is known to about a second: overlaps count from
# a tenth on. Confusions of categories are told apart, not punished (alpha_ct 0).
DTC, GTC, CTTC = 0.1, 0.1, 0.3
MOST_FALSE_PER_HOUR = 100.0

warnings.filterwarnings("ignore")
given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
truth = pd.DataFrame(given["truth"])
metadata = pd.DataFrame(given["durations"].items(), columns=["filename", "duration"])
known = set(truth["event_label"])
judge = PSDSEval(DTC, GTC, CTTC, ground_truth=truth, metadata=metadata)
columns = list(truth.columns)
for threshold, rows in given["points"].items():
    kept = [row for row in rows if row["event_label"] in known]
    judge.add_operating_point(pd.DataFrame(kept, columns=columns), info={"threshold": threshold})
for name, spread in (("mean over categories", 0.0), ("less their spread", 1.0)):
    score = judge.psds(alpha_ct=0.0, alpha_st=spread, max_efpr=MOST_FALSE_PER_HOUR)
    print(f"PSDS, {name}, up to {MOST_FALSE_PER_HOUR:g} false/h: {score.value:.3f}")
