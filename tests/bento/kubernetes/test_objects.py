"""What the objects say, beyond being well formed."""

from __future__ import annotations

from typing import Any

import pytest

from openllm.bento.kubernetes.manifests import make_kserve, make_manifests
from openllm.bento.kubernetes.objects import CLIENTS
from openllm.bento.kubernetes.workload import HEADROOM
from openllm.config.settings import Settings
from openllm.errors import BuildError
from tests.bento.kubernetes.conftest import IMAGE, Make

LARGE = 140 * 10**9  # bytes: 70 billion parameters of 2 bytes


def pod(found: dict[str, Any]) -> dict[str, Any]:
    inside: dict[str, Any] = found["deployment"]["spec"]["template"]["spec"]
    return inside


def environment(found: dict[str, Any]) -> dict[str, Any]:
    return {item["name"]: item for item in pod(found)["containers"][0]["env"]}


def test_a_restricted_namespace_takes_it(make: Make) -> None:
    """kubernetes.io/docs/concepts/security/pod-security-standards, restricted."""
    inside = pod(make_manifests(make()))
    assert inside["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert inside["securityContext"]["runAsNonRoot"] is True
    (container,) = inside["containers"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {key for volume in inside["volumes"] for key in volume} == {"name", "emptyDir"}
    assert inside["enableServiceLinks"] is False
    free = pod(make_manifests(make("any-user=true")))["securityContext"]
    assert set(free) == {"runAsNonRoot", "seccompProfile"}


def test_memory_goes_by_the_true_size_by_reference_too(make: Make) -> None:
    workload = make("hf-token=hub:key", gpus=2, weights=LARGE)
    found = make_manifests(workload)
    (container,) = pod(found)["containers"]
    least = LARGE / 2**30
    request = int(container["resources"]["requests"]["memory"].removesuffix("Gi"))
    assert least < request < least * 1.1
    assert container["resources"]["limits"]["memory"] == f"{HEADROOM * request}Gi"
    storage = found["claim"]["spec"]["resources"]["requests"]["storage"]
    assert int(storage.removesuffix("Gi")) > least
    claim = next(volume for volume in pod(found)["volumes"] if volume["name"] == "weights")
    assert claim["persistentVolumeClaim"]["claimName"] == found["claim"]["metadata"]["name"]
    said = environment(found)
    (where,) = (
        mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "weights"
    )
    assert said["HF_HOME"]["value"].startswith(f"{where}/")
    assert said["HF_TOKEN"]["valueFrom"] == {"secretKeyRef": {"name": "hub", "key": "key"}}
    assert found["claim"]["spec"]["accessModes"] == ["ReadWriteMany"]  # three pods share it
    assert "claim" not in make_manifests(make())


def test_models_that_are_not_gated_need_no_token(make: Make) -> None:
    said = environment(make_manifests(make(weights=LARGE)))
    assert said["HF_TOKEN"]["valueFrom"]["secretKeyRef"]["optional"] is True


def test_who_scrapes_needs_no_key_and_who_asks_needs_one(make: Make) -> None:
    said = environment(make_manifests(make("api-key=keys")))
    assert said["OPENLLM_API_KEY"]["valueFrom"] == {
        "secretKeyRef": {"name": "keys", "key": "api-key"}
    }
    plain = {name: item["value"] for name, item in said.items() if "value" in item}
    assert Settings.from_env(plain).open_metrics is True


def test_only_without_gpus_a_pod_more_is_started_first(make: Make) -> None:
    for gpus, wanted in ((0, (1, 0)), (1, (0, 1))):
        rolling = make_manifests(make(gpus=gpus))["deployment"]["spec"]["strategy"]
        said = rolling["rollingUpdate"]
        assert (said["maxSurge"], said["maxUnavailable"]) == wanted


@pytest.mark.parametrize(
    ("scaler", "file"), [("hpa", "autoscaler"), ("keda", "keda"), ("none", "")]
)
def test_the_number_of_replicas_has_one_owner(make: Make, scaler: str, file: str) -> None:
    found = make_manifests(make(f"scaler={scaler}", "replicas=2..5"))
    assert {"autoscaler", "keda"} & set(found) == ({file} if file else set())
    said = found["deployment"]["spec"].get("replicas")
    assert said == (None if file else 2)


def test_from_none_an_interceptor_holds_what_comes(make: Make) -> None:
    found = make_manifests(make("scaler=keda", "replicas=0..2"))
    assert found["keda"]["kind"] == "HTTPScaledObject"
    assert found["keda"]["spec"]["replicas"] == {"min": 0, "max": 2}
    assert (
        found["keda"]["spec"]["scaleTargetRef"]["service"] == found["service"]["metadata"]["name"]
    )


def test_nodes_with_gpus_are_tolerated_and_others_as_said(make: Make) -> None:
    texts = ("node=disk=nvme", "toleration=a=b:NoSchedule", "toleration=c")
    inside = pod(make_manifests(make(*texts, gpus=1)))
    assert inside["nodeSelector"] == {"openllm.dev/gpu-type": "nvidia-l4", "disk": "nvme"}
    assert inside["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"},
        {"key": "c", "operator": "Exists"},
    ]
    assert "tolerations" not in pod(make_manifests(make()))


def test_the_network_is_closed_but_for_clients_names_and_the_hub(make: Make) -> None:
    spec = make_manifests(make())["network-policy"]["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    (rule,) = spec["ingress"]
    assert rule["from"] == [{"podSelector": {}}, {"namespaceSelector": {"matchLabels": CLIENTS}}]
    ports = [port["port"] for part in spec["egress"] for port in part.get("ports", ())]
    assert ports == [53, 53]
    fetching = make_manifests(make(weights=LARGE))["network-policy"]["spec"]
    assert {"ports": [{"protocol": "TCP", "port": 443}]} in fetching["egress"]


def test_a_monitor_takes_the_place_of_annotations(make: Make) -> None:
    found = make_manifests(make("monitor=true"))
    assert "annotations" not in found["deployment"]["spec"]["template"]["metadata"]
    (endpoint,) = found["pod-monitor"]["spec"]["podMetricsEndpoints"]
    (port,) = pod(found)["containers"][0]["ports"]
    assert endpoint["port"] == port["name"]
    assert endpoint["path"] == "/metrics"


def test_a_pool_has_the_pods_of_the_deployment(make: Make) -> None:
    found = make_manifests(make("picker=epp"))
    spec = found["inference-pool"]["spec"]
    assert spec["selector"] == found["deployment"]["spec"]["selector"]
    assert spec["targetPorts"] == [{"number": 3000}]
    assert spec["endpointPickerRef"]["name"] == "epp"


def test_several_hosts_are_one_group(make: Make) -> None:
    found = make_manifests(make("hosts=2", gpus=16))
    assert "deployment" not in found
    assert "autoscaler" not in found
    group = found["workers"]["spec"]["leaderWorkerTemplate"]
    assert group["size"] == 2
    leader, worker = group["leaderTemplate"], group["workerTemplate"]
    for part in (leader, worker):
        (container,) = part["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == 8
    assert "--head" in leader["spec"]["containers"][0]["args"][0]
    assert "$(LWS_LEADER_ADDRESS)" in worker["spec"]["containers"][0]["args"][0]
    assert "readinessProbe" not in worker["spec"]["containers"][0]
    # requests go to the leader alone
    assert found["service"]["spec"]["selector"].items() <= leader["metadata"]["labels"].items()
    assert not (
        found["service"]["spec"]["selector"].items() <= worker["metadata"]["labels"].items()
    )
    with pytest.raises(BuildError, match=r"3 GPU\(s\) cannot be shared by 2 hosts"):
        make_manifests(make("hosts=2", gpus=3))


def test_kserve_runs_the_same_pod(make: Make) -> None:
    found = make_kserve(make("scaler=keda", gpus=1, weights=LARGE))
    (container,) = found["runtime"]["spec"]["containers"]
    assert (container["name"], container["image"]) == ("kserve-container", IMAGE)
    assert found["runtime"]["spec"]["nodeSelector"] == {"openllm.dev/gpu-type": "nvidia-l4"}
    predictor = found["inference-service"]["spec"]["predictor"]
    assert predictor["model"]["runtime"] == found["runtime"]["metadata"]["name"]
    formats = [one["name"] for one in found["runtime"]["spec"]["supportedModelFormats"]]
    assert predictor["model"]["modelFormat"]["name"] in formats
    assert predictor["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert "claim" in found
    fixed = make_kserve(make("scaler=none", "replicas=2..4"))["inference-service"]["spec"]
    assert (fixed["predictor"]["minReplicas"], fixed["predictor"]["maxReplicas"]) == (2, 2)
    with pytest.raises(BuildError, match="replicas of one host"):
        make_kserve(make("hosts=2"))
