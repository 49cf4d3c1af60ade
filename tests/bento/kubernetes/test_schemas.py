"""Every object that is written, against the schemas of Kubernetes and of the operators."""

from __future__ import annotations

import pytest

from openllm.bento.kubernetes.manifests import make_kserve, make_manifests
from tests.bento.kubernetes.conftest import Make
from tests.bento.kubernetes.schemas import CUSTOM, check

LARGE = 140 * 10**9
EVERYTHING = (
    "scaler=none",
    "any-user=true",
    "api-key=keys:openllm",
    "hf-token=hub",
    "storage-class=fast",
    "node=disk.example/kind=nvme",
    "toleration=dedicated=llm:NoSchedule",
    "toleration=spot",
    "monitor=true",
    "picker=picker",
)
FORMS = [
    ((), 0, 0),
    ((), 2, 0),
    (EVERYTHING, 8, LARGE),
    (("scaler=keda",), 1, 0),
    (("scaler=keda", "replicas=0..4"), 1, LARGE),
    (("hosts=2",), 16, LARGE),
]


@pytest.mark.parametrize(("texts", "gpus", "weights"), FORMS)
def test_plain_manifests(make: Make, texts: tuple[str, ...], gpus: int, weights: int) -> None:
    for manifest in make_manifests(make(*texts, gpus=gpus, weights=weights)).values():
        check(manifest)


@pytest.mark.parametrize(("texts", "gpus", "weights"), [*FORMS[:2], *FORMS[2:4]])
def test_kserve(make: Make, texts: tuple[str, ...], gpus: int, weights: int) -> None:
    for manifest in make_kserve(make(*texts, gpus=gpus, weights=weights)).values():
        check(manifest)


def test_no_custom_resource_is_left_untried(make: Make) -> None:
    written = {
        (manifest["apiVersion"], manifest["kind"])
        for texts, gpus, weights in FORMS
        for manifest in make_manifests(make(*texts, gpus=gpus, weights=weights)).values()
    }
    written |= {(found["apiVersion"], found["kind"]) for found in make_kserve(make()).values()}
    assert set(CUSTOM) <= written
