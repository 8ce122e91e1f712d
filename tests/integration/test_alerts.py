"""Alerts and dashboard: promtool takes the rules, each alert fires and stays quiet, and all ask for metrics that there are."""

import json
import pathlib
import re
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"
DASHBOARD = json.loads((ROOT / "deploy/grafana/argon.json").read_text())
RULES = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())["groups"][0]["rules"]
# test_metrics.py compares these with what is exported
DOCUMENTED = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))


def families(expression):
    """The metrics that an expression names; the parts of a histogram as the histogram."""
    for name in re.findall(r"\b(?:argon|process)_\w+", re.sub(r'"[^"]*"', "", expression)):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        yield base if DOCUMENTED.get(base) == "histogram" else name


def promtool(*arguments):
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, cwd=PROMETHEUS, timeout=120)


def test_promtool_takes_the_rules():
    checked = promtool("check", "rules", "alerts.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(RULES)} rules found" in checked.stdout


def test_each_alert_fires_and_stays_quiet():
    tested = promtool("test", "rules", "alerts_test.yaml")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    expected = {}
    for test in yaml.safe_load((PROMETHEUS / "alerts_test.yaml").read_text())["tests"]:
        for rule in test["alert_rule_test"]:
            expected.setdefault(rule["alertname"], set()).add(bool(rule["exp_alerts"]))
    assert expected == {rule["alert"]: {True, False} for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_asks_for_metrics_that_there_are_and_says_what_to_do(rule):
    assert set(families(rule["expr"])) <= set(DOCUMENTED)
    assert set(families(rule["expr"])) or rule["expr"].startswith("up{")
    page, anchor = rule["annotations"]["runbook"].split("#")
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in [heading.lower().replace(" ", "-") for heading in headings]


def test_the_dashboard_asks_for_metrics_that_there_are():
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    expressions += [variable["definition"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
    asked = {name for expression in expressions for name in families(expression)}
    assert len(expressions) > 40 and asked <= set(DOCUMENTED), asked - set(DOCUMENTED)
    # Prometheus parses them, with what Grafana puts in place of its variables
    rules = [
        {"record": f"panel:{i}", "expr": re.sub(r"\$__rate_interval", "5m", expression)}
        for i, expression in enumerate(expressions)
        if not expression.startswith("label_values")
    ]
    checked = subprocess.run(
        ["promtool", "check", "rules", "/dev/stdin"],
        input=json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), capture_output=True, text=True, timeout=60,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
