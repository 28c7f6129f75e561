"""The dashboard is what Grafana and Prometheus take, as far as that shows without them."""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.monitoring.promtool import MONITORING, promtool

GRAFANA = MONITORING / "grafana"
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "dashboard.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
DRAWN = [panel for panel in PANELS if panel["type"] != "row"]


def expressions() -> list[str]:
    """Every query, with Grafana's own variable filled in."""
    return [
        target["expr"].replace("$__rate_interval", "1m") for panel in DRAWN for target in panel["targets"]
    ]


def test_panels_have_ids_of_their_own_and_say_what_they_show() -> None:
    ids = [panel["id"] for panel in PANELS]

    assert len(ids) == len(set(ids))
    assert [panel["title"] for panel in DRAWN if not panel["description"].endswith(".")] == []
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)


def test_panels_do_not_overlap_and_fill_the_width_of_a_screen() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_prometheus_takes_every_query(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(expressions())]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    told = promtool("check", "rules", file)

    assert told.returncode == 0, told.stdout + told.stderr


def test_every_query_asks_the_data_source_that_is_chosen_on_the_page() -> None:
    variables = [variable["name"] for variable in DASHBOARD["templating"]["list"]]
    asked = {target["datasource"]["uid"] for panel in DRAWN for target in panel["targets"]}

    assert variables == ["datasource"]
    assert asked == {"${datasource}"}


def test_grafana_finds_its_data_source_and_its_dashboard() -> None:
    def provisioned(name: str) -> dict[str, Any]:
        text = (GRAFANA / "provisioning" / name).read_text(encoding="utf-8")
        content: dict[str, Any] = yaml.safe_load(text)
        assert content["apiVersion"] == 1
        return content

    (source,) = provisioned("datasources/prometheus.yml")["datasources"]
    (provider,) = provisioned("dashboards/hub.yml")["providers"]

    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert (provider["type"], provider["options"]["path"]) == ("file", "/var/lib/grafana/dashboards")
