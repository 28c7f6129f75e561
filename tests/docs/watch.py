"""Prometheus with the repository's own alert rules, looking at one hub process every second."""

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / ".tools/usr/bin/prometheus"


def read(url: str) -> str:
    """Read a local address; empty while nobody answers."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


@contextmanager
def running(command: list[str], folder: Path, environ: dict[str, str], name: str) -> Iterator[None]:
    """Run a program with its output in a file beside its data; ends it with the block."""
    with (folder / f"{name}.log").open("wb") as log:
        child = subprocess.Popen(
            command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@dataclass
class Alerts:
    """Prometheus with the repository's rules."""

    port: int

    def firing(self, name: str, queue: str) -> dict[str, Any] | None:
        """Give the alert when it fires for this queue."""
        alerts = json.loads(read(f"http://127.0.0.1:{self.port}/api/v1/alerts") or '{"data": {"alerts": []}}')
        for alert in alerts["data"]["alerts"]:
            labels = alert["labels"]
            if labels["alertname"] == name and labels.get("queue") == queue and alert["state"] == "firing":
                return dict(alert)
        return None


@contextmanager
def watched(folder: Path, hub_port: int) -> Iterator[Alerts]:
    """Let Prometheus scrape the hub every second."""
    port = free_port()
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ROOT / "monitoring" / "alerts.yml")],
        "scrape_configs": [{"job_name": "hub", "static_configs": [{"targets": [f"127.0.0.1:{hub_port}"]}]}],
    }
    # JSON is YAML.
    (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")
    command = [
        str(PROMETHEUS),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(command, folder, dict(os.environ), "prometheus"):
        yield Alerts(port)
