"""The dashboard and the alert rules name what the endpoint has, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_metrics import Scene

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
DASHBOARD = DEPLOY / "grafana" / "homeguard.json"
RULES = DEPLOY / "prometheus" / "homeguard.rules.yml"
GUIDE = DEPLOY.parent / "docs" / "metrics.md"
NAME = re.compile(r"\b(?:homeguard|process)_[a-z_]+\b")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[str]]:
    scene = Scene(tmp_path_factory.mktemp("state"))
    yield scene.scrape().names
    scene.close()


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def test_every_metric_of_the_dashboard_exists(dashboard, names):
    asked = [t["expr"] for panel in panels(dashboard) for t in panel["targets"]]
    asked += [v["query"]["query"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
    assert len(asked) > 20
    used = {name for query in asked for name in NAME.findall(query)}
    assert used - names == set()
    assert {name for name in names if name.startswith("homeguard_")} - used == set()


def test_the_dashboard_asks_the_data_source_that_is_chosen(dashboard):
    variables = {v["name"]: v["type"] for v in dashboard["templating"]["list"]}
    assert variables["datasource"] == "datasource"
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels(dashboard):
        assert panel["datasource"] == chosen
        assert all(target["datasource"] == chosen for target in panel["targets"])
    text = DASHBOARD.read_text(encoding="utf-8")
    assert set(re.findall(r"\$(?!\{|__)(\w+)", text)) <= set(variables)


def test_panels_have_ids_of_their_own_and_lie_beside_one_another(dashboard):
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_metric_of_the_rules_exists(rules, names):
    used = {name for rule in rules for name in NAME.findall(rule["expr"])}
    assert used
    assert used - names == set()


def test_an_alert_says_what_it_is_and_what_to_do(rules):
    alerts = [rule for rule in rules if "alert" in rule]
    assert {"HomeGuardNoDecision", "HomeGuardFault", "HomeGuardOutboxOld"} <= {
        rule["alert"] for rule in alerts
    }
    for rule in alerts:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_the_guide_names_every_metric_and_no_other(names):
    told = set(NAME.findall(GUIDE.read_text(encoding="utf-8")))
    ours = {name for name in names if name.startswith("homeguard_")}
    assert {name for name in told if name.startswith("homeguard_")} == ours
    assert told <= names


@pytest.mark.skipif(shutil.which("promtool") is None, reason="apt install prometheus")
def test_prometheus_takes_the_rules_and_they_fire():
    for command in (("check", "rules", RULES), ("test", "rules", RULES.with_suffix(".test.yml"))):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
