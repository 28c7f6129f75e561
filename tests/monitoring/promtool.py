"""Prometheus' own checker, as `scripts/test-tools` fetches it, and the metric names in PromQL."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"
PROMTOOL = ROOT / ".tools/usr/bin/promtool"


def promtool(*words: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run promtool with `text` on its standard input."""
    if not PROMTOOL.exists():
        pytest.skip(f"promtool is not at {PROMTOOL.relative_to(ROOT)}: scripts/test-tools fetches it")
    return subprocess.run(
        [PROMTOOL, *words], input=text, capture_output=True, text=True, timeout=60, check=False
    )


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def hub_metrics(expression: str) -> set[str]:
    """The metrics of the hub that an expression reads; label values in quotes are none."""
    return set(re.findall(r"\bhub_\w+", re.sub(r'"[^"]*"', "", expression)))
