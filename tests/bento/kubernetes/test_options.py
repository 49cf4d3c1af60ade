"""KEY=VALUE texts: what they come to, and what is refused."""

from __future__ import annotations

import pytest

from openllm.bento.kubernetes.options import (
    KubernetesOptions,
    Replicas,
    SecretKey,
    Toleration,
)
from openllm.errors import BuildError


def test_what_is_said_is_read() -> None:
    found = KubernetesOptions.read(
        [
            "replicas=2..5",
            "scaler=keda",
            "prometheus=https://prom.example:9090/api",
            "monitor=true",
            "api-key=keys",
            "hf-token=hub.example:hf_token",
            "node=a.example/kind=x",
            "node=b=",
            "toleration=a:NoExecute",
        ]
    )
    assert found == KubernetesOptions(
        replicas=Replicas(2, 5),
        scaler="keda",
        prometheus="https://prom.example:9090/api",
        monitor=True,
        api_key=SecretKey("keys", "api-key"),
        hub_token=SecretKey("hub.example", "hf_token"),
        node_selector={"a.example/kind": "x", "b": ""},
        tolerations=(Toleration("a", None, "NoExecute"),),
    )
    assert KubernetesOptions.read(["replicas=4"]).replicas == Replicas(4, 4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("replicas", "is not KEY=VALUE. There are replicas, scaler,"),
        ("replica=1", "There is no 'replica' to set. Did you mean replicas?"),
        ("replicas=3..1", "From 3 to 1 replicas cannot be"),
        ("replicas=0..0", "From 0 to 0 replicas cannot be"),
        ("replicas=0..2", "Only KEDA starts the first replica"),
        ("replicas=many", "Write replicas=1..3, or 2."),
        ("scaler=vpa", "names no scaler. Take hpa, keda, none."),
        ("monitor=yes", "is neither true nor false"),
        ("hosts=0", "says no number of hosts"),
        ("picker=A b", "is no such name"),
        ("prometheus=ftp://x", "is no such name"),
        ("prometheus=http://x/{{ .Values }}", "is no such name"),
        ("api-key=a/b", "is no such name"),
        ("api-key=a:{{ x }}", "is no such name"),
        ("node=x y=z", "is no such name"),
        ("node=x=@@yaml", "is no such name"),
        ("toleration=a=b:Never", "has no effect. Take NoSchedule,"),
        ("storage-class=-", "is no such name"),
    ],
)
def test_what_cannot_be_is_one_line(text: str, said: str) -> None:
    with pytest.raises(BuildError) as error:
        KubernetesOptions.read([text])
    assert said in str(error.value)
    assert "\n" not in str(error.value)
