"""What is told of a conversation that failed: one line, without the token or the value of a
variable.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openllm.bento.build import build
from openllm.bento.cloud.account import Account, connect, refusal
from openllm.bento.cloud.push import push
from openllm.config.spec import LLMSpec
from tests.bento.conftest import home
from tests.cloud import FakeCloud, cloud

__all__ = ["cloud", "home"]
TEXTS = st.text('ab1 \n\t.,"\\{}:é')
SECRETS = st.text('xyZ9 \n."\\é', min_size=4, max_size=12).filter(
    lambda text: len("".join(text.split())) >= 4
)


@given(
    TEXTS,
    SECRETS,
    TEXTS,
    st.sampled_from([str, json.dumps, lambda text: json.dumps({"error": text})]),
)
def test_no_secret_is_quoted_however_the_server_writes_it(
    before: str, secret: str, after: str, write: object
) -> None:
    assert callable(write)
    said = Account("http://x", "", None, (secret,)).quote(write(before + secret + after))
    assert secret not in said
    assert " ".join(secret.split()) not in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            'request failed with status code 402: {"error": "No quota."}',
            "BentoCloud refused to push x: No quota.",
        ),
        (
            'request failed with status code 418: {"a": 1}',
            'BentoCloud refused to push x: {"a": 1}.',
        ),
        ("request failed with status code 429: ", "BentoCloud refused to push x: no reason given."),
        ("[Errno 104] Connection reset", "Could not push x: [Errno 104] Connection reset."),
        (
            "report to us with trace ID <1-2>",
            "BentoCloud failed, could not push x: report to us with trace ID <1-2>.",
        ),
    ],
)
def test_what_bentomls_client_says_becomes_one_line(text: str, line: str) -> None:
    assert refusal(Account("http://x", "", None), "push x", text).message == line


def test_bentomls_apply_still_needs_to_be_told_the_cluster(
    home: object, cloud: FakeCloud, echo_model: object
) -> None:
    """Else it compares none to the one there is. Once this fails, `deploy` need not look up the
    cluster any more.
    """
    import bentoml
    from bentoml.exceptions import BentoMLException

    tag = build(LLMSpec(model_id=str(echo_model), backend="echo")).tag
    account = connect()
    push(account, tag, lambda line: None)
    config = {"name": "bird", "bento": tag, "services": {"parrot": {}}}
    bentoml.deployment.apply(config_dict=dict(config), _cloud_client=account.client)
    with pytest.raises(BentoMLException, match="cluster cannot be changed"):
        bentoml.deployment.apply(config_dict=dict(config), _cloud_client=account.client)
