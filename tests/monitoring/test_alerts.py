"""The alert rules are Prometheus', each is tried in both directions, and each leads to a section of the manual."""

import re

import yaml

from tests.monitoring.promtool import MONITORING, alerts, promtool


def test_prometheus_takes_the_rules() -> None:
    told = promtool("check", "rules", MONITORING / "alerts.yml")

    assert told.returncode == 0, told.stdout + told.stderr


def test_prometheus_takes_its_settings() -> None:
    told = promtool("check", "config", MONITORING / "prometheus.yml")

    assert told.returncode == 0, told.stdout + told.stderr


def test_every_alert_fires_when_it_should_and_is_silent_before() -> None:
    told = promtool("test", "rules", MONITORING / "alerts.test.yml")

    assert told.returncode == 0, told.stdout + told.stderr


def test_every_alert_has_a_silent_and_a_firing_case() -> None:
    tests = yaml.safe_load((MONITORING / "alerts.test.yml").read_text(encoding="utf-8"))["tests"]
    cases = [case for test in tests for case in test.get("promql_expr_test", [])]
    tried = {
        kind: {
            re.findall(r'alertname="(\w+)"', case["expr"])[0]
            for case in cases
            if bool(case["exp_samples"]) == (kind == "firing")
        }
        for kind in ("firing", "silent")
    }
    names = {rule["alert"] for rule in alerts()}

    assert tried == {"firing": names, "silent": names}


def test_every_alert_says_what_is_wrong_and_where_to_read_on() -> None:
    for rule in alerts():
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}, rule["alert"]
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket", "work")
        assert rule["alert"].startswith("Hub")


def test_no_alert_is_there_twice() -> None:
    names = [rule["alert"] for rule in alerts()]

    assert len(names) == len(set(names))
