"""The manifests for Kubernetes, read back as YAML."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from openllm.bento.build import BuildOptions, BuildResult, build
from openllm.bento.image.dockerfile import ContainerOptions, Contents, render_dockerfile
from openllm.bento.kubernetes.manifests import dump, write_manifests
from openllm.bento.kubernetes.objects import METRIC
from openllm.bento.kubernetes.options import KubernetesOptions, Replicas
from openllm.bento.pack.resources import Resources
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import BuildError, ServeError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def built(home: Path, echo_model: Path) -> BuildResult:
    spec = LLMSpec(model_id=str(echo_model), backend="echo")
    return build(spec, BuildOptions(name="4.parrots_x", resources=Resources(2, "nvidia-l4")))


def read(built: BuildResult, folder: Path, **replicas: int) -> dict[str, Any]:
    options = KubernetesOptions(replicas=Replicas(**replicas))
    paths = write_manifests(built.tag, "my/parrot:1", folder, options)
    assert [path.name for path in paths] == [
        "deployment.yaml",
        "service.yaml",
        "autoscaler.yaml",
        "disruption-budget.yaml",
        "network-policy.yaml",
    ]
    return {path.stem: yaml.safe_load(path.read_text()) for path in paths}


def test_the_names_of_all_agree(built: BuildResult, tmp_path: Path) -> None:
    found = read(built, tmp_path / "deep" / "out")
    assert {item["metadata"]["name"] for item in found.values()} == {"llm-4-parrots-x"}
    deployment, service = found["deployment"]["spec"], found["service"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == service["selector"] == labels
    (port,) = deployment["template"]["spec"]["containers"][0]["ports"]
    assert service["ports"] == [{"name": "http", "port": 80, "targetPort": port["name"]}]
    assert (
        found["autoscaler"]["spec"]["scaleTargetRef"]["name"]
        == found["deployment"]["metadata"]["name"]
    )
    assert found["deployment"]["metadata"]["annotations"]["openllm.dev/bento"] == built.tag


def test_the_pod_gets_its_gpus_and_nothing_it_need_not_have(
    built: BuildResult, tmp_path: Path
) -> None:
    pod = read(built, tmp_path)["deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "my/parrot:1"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert container["resources"]["requests"]["nvidia.com/gpu"] == 2
    assert pod["nodeSelector"] == {"openllm.dev/gpu-type": "nvidia-l4"}
    assert pod["securityContext"]["runAsUser"] == 1034
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    dockerfile = render_dockerfile(Contents(built.tag, built.specs), ContainerOptions())
    assert f"USER {pod['securityContext']['runAsUser']}:" in dockerfile
    assert f"EXPOSE {container['ports'][0]['containerPort']}" in dockerfile


def test_probes_and_time_to_drain(built: BuildResult, tmp_path: Path) -> None:
    pod = read(built, tmp_path)["deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    probes = {
        name: container[f"{name}Probe"]["httpGet"]["path"]
        for name in ("startup", "readiness", "liveness")
    }
    assert probes == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/livez"}
    notice = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    drain = float(container["env"][0]["value"])
    assert (
        Settings.from_env({item["name"]: item["value"] for item in container["env"]}).drain_seconds
        == drain
    )
    assert pod["terminationGracePeriodSeconds"] > notice + drain


def test_without_gpus_none_are_asked_for(home: Path, echo_model: Path, tmp_path: Path) -> None:
    built = build(LLMSpec(model_id=str(echo_model), backend="echo"))
    pod = read(built, tmp_path)["deployment"]["spec"]["template"]["spec"]
    assert "nvidia.com/gpu" not in pod["containers"][0]["resources"]["limits"]
    assert "nodeSelector" not in pod


def test_the_autoscaler_goes_by_a_metric_we_have(built: BuildResult, tmp_path: Path) -> None:
    spec = read(built, tmp_path, least=2, most=5)["autoscaler"]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 5)
    (metric,) = spec["metrics"]
    assert metric["pods"]["metric"]["name"] == METRIC
    assert re.search(rf'"{METRIC}"', (ROOT / "openllm/http/engine_figures.py").read_text())


@pytest.mark.parametrize("image", ["a\nb", "$(x)", "{{ x }}", "a;b", ""])
def test_an_image_that_is_none_is_one_line(built: BuildResult, tmp_path: Path, image: str) -> None:
    with pytest.raises(BuildError, match="cannot be an image's name") as error:
        write_manifests(built.tag, image, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text",
    ["1e3", "12345678901234e5", "-1E+3", ".5e3", "0o17", "0O17", "0X1F", "0B1", "1_0e5", "y", "N"],
)
def test_texts_that_go_would_not_read_as_texts_are_quoted(text: str) -> None:
    assert dump({"value": text, text: "key"}) == f"value: '{text}'\n'{text}': key\n"


def test_numbers_and_other_texts_are_as_plain_as_they_were() -> None:
    values = {"int": 5, "float": 1e20, "bool": True, "version": "1.0.0-k", "size": "2Gi"}
    text = dump(values)
    assert "'" not in text
    assert yaml.safe_load(text) == values


def test_what_else_cannot_be_is_one_line(built: BuildResult, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="From 3 to 1 replicas cannot be"):
        Replicas(3, 1)
    with pytest.raises(ServeError, match="There is no Bento"):
        write_manifests("nothing:1", "x:1", tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match="cannot be written"):
        write_manifests(built.tag, "x:1", tmp_path / "file")
