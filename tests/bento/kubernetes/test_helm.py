"""The chart: its values, and its templates as Helm itself renders them where it is installed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from openllm.bento.kubernetes.helm import make_chart
from openllm.bento.kubernetes.manifests import make_manifests, write_files
from openllm.errors import BuildError
from tests.bento.kubernetes.conftest import IMAGE, Make
from tests.bento.kubernetes.schemas import check

LARGE = 140 * 10**9


def render(folder: Path, values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What `helm template demo .` gives, by file; the name of the release is that of `make`'s."""
    helm = pytest.importorskip("helm_python", reason="`make install` brings it")
    assert helm.lint(str(folder))["errors"] == []
    with helm.Chart.load(str(folder)) as chart:
        chart.validate_schema(values)
        found = chart.render(values, name="demo", namespace="models")
    loaded = {Path(name).stem: yaml.safe_load(text) for name, text in found.items()}
    return {name: one for name, one in loaded.items() if isinstance(one, dict)}


def chart(folder: Path, files: dict[str, str]) -> Path:
    write_files(folder, files)
    return folder


@pytest.mark.parametrize(
    ("texts", "gpus", "weights"),
    [
        ((), 0, 0),
        (("scaler=none", "api-key=keys", "any-user=true"), 2, 0),
        (("scaler=keda", "node=a=b", "picker=epp", "storage-class=fast"), 2, LARGE),
        (("scaler=keda", "replicas=0..2"), 1, LARGE),
        (("node=disk=1e3", "node=eight=0o17", "node=y=n", "storage-class=1e3"), 0, LARGE),
    ],
)
def test_without_other_values_it_is_the_plain_manifests(
    make: Make, tmp_path: Path, texts: tuple[str, ...], gpus: int, weights: int
) -> None:
    workload = make(*texts, gpus=gpus, weights=weights)
    rendered = render(chart(tmp_path, make_chart(workload)), {})
    for manifest in rendered.values():
        check(manifest)
    plain = {item["kind"]: item for item in make_manifests(workload).values()}
    found = {item["kind"]: item for item in rendered.values()}
    for item in found.values():  # what was said of nothing is there, but empty
        inside = item["spec"].get("template", {}).get("spec", {})
        for part in ("nodeSelector", "tolerations"):
            if not inside.get(part, True):
                del inside[part]
    assert found == plain


def test_values_are_taken(make: Make, tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "image": "other:1",
        "scaler": "none",
        "replicas": {"least": 4, "most": 4},
        "monitor": True,
        "networkPolicy": False,
        "disruptionBudget": False,
        "service": {"type": "LoadBalancer", "port": 8080},
        "env": [{"name": "OPENLLM_MAX_QUEUE", "value": "64"}],
        "tolerations": [{"key": "spot", "operator": "Exists"}],
    }
    found = render(chart(tmp_path, make_chart(make(gpus=1))), values)
    assert set(found) == {"deployment", "service", "pod-monitor"}
    for manifest in found.values():
        check(manifest)
    spec = found["deployment"]["spec"]
    assert spec["replicas"] == 4
    (container,) = spec["template"]["spec"]["containers"]
    assert (container["image"], container["env"]) == ("other:1", values["env"])
    assert spec["template"]["spec"]["tolerations"] == values["tolerations"]
    assert found["service"]["spec"]["type"] == "LoadBalancer"
    assert found["service"]["spec"]["ports"][0]["port"] == 8080


def test_the_chart_says_what_it_is_and_what_values_may_be(make: Make) -> None:
    files = make_chart(make(gpus=1, weights=LARGE))
    about = yaml.safe_load(files["Chart.yaml"])
    assert about["name"] == "demo"
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+-b[0-9a-f]{16}", about["version"])
    values = yaml.safe_load(files["values.yaml"])
    assert values["image"] == IMAGE
    schema = json.loads(files["values.schema.json"])
    jsonschema.validate(values, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**values, "scaler": "vpa"}, schema)
    assert not [name for name, text in files.items() if "@@" in text]


def test_several_hosts_have_no_chart(make: Make) -> None:
    with pytest.raises(BuildError, match="replicas of one host"):
        make_chart(make("hosts=2"))
