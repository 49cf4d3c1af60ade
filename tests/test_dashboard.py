"""The Grafana dashboard: as it is written from scripts/dashboard.py, of metrics that a server has,
and in the words of Prometheus' own parser.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml

from openllm.config.settings import Settings
from scripts import dashboard
from tests.protocols.conftest import echo_llm
from tests.serving import serve, write_echo_model

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not here (Debian's package prometheus has it)"
)
NAME = re.compile(r"\b(?:openllm|process)_\w+")
# Of a server with a file of keys alone.
KEYS = {"openllm_key_requests_live", "openllm_key_requests_waiting"}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """/metrics of a server that has answered."""
    llm = echo_llm(write_echo_model(tmp_path_factory.mktemp("echo") / "echo"))
    key = {"authorization": "Bearer key"}
    with serve(llm, settings=Settings(api_key="key")) as running:
        body = {"prompt": "hello", "max_tokens": 3}
        httpx.post(f"{running.url}/v1/completions", json=body, headers=key).raise_for_status()
        return httpx.get(f"{running.url}/metrics", headers=key).text


def expressions() -> list[str]:
    """Every query of the file, with Grafana's variables as it fills them in."""
    found = [
        target["expr"]
        for panel in json.loads(dashboard.TARGET.read_text())["panels"]
        for target in panel.get("targets", ())
    ]
    values = {"$__rate_interval": "1m", "$job": ".*", "$model": "(a|b)"}
    for name, value in values.items():
        found = [text.replace(name, value) for text in found]
    assert not [text for text in found if "$" in text]
    return found


def test_the_file_is_what_the_script_writes() -> None:
    assert dashboard.TARGET.read_text() == dashboard.text()


def test_every_metric_of_it_is_one_that_a_server_has(page: str) -> None:
    there = {
        name.removesuffix("_total") + suffix
        for name, kind in re.findall(r"^# TYPE (\S+) (\w+)", page, re.MULTILINE)
        for suffix in ({"histogram": ["_bucket"], "counter": ["_total"]}.get(kind, [""]))
    }
    used = {name for text in expressions() for name in NAME.findall(text)}
    assert used - there == KEYS
    variables = json.loads(dashboard.TARGET.read_text())["templating"]["list"]
    asked = {name for one in variables for name in NAME.findall(str(one["query"]))}
    assert asked <= there


def test_labels_are_those_of_the_metrics(page: str) -> None:
    samples = re.findall(r"^(\w+)\{(.*)\}", page, re.MULTILINE)
    labels = {name: set(re.findall(r'(\w+)="', found)) for name, found in samples}
    given = {"job", "instance", "le"}  # le: of every histogram; the others Prometheus adds
    for text in expressions():
        for name, selected in re.findall(r"(\w+)\{(.*?)\}", text):
            used = {*re.findall(r"(\w+)=~", selected), *re.findall(r"by \((\w+)\)", text)}
            if name in labels:  # one without samples is of what this server does not do
                assert used - given <= labels[name], text


@needs_promtool
def test_prometheus_reads_every_query(tmp_path: Path) -> None:
    rules = [{"record": f"query:{at}", "expr": text} for at, text in enumerate(expressions())]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([PROMTOOL, "check", "rules", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(rules)} rules found" in done.stdout


@needs_promtool
def test_prometheus_reads_the_page_and_finds_nothing_to_mend(page: str) -> None:
    done = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=page, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_sample_says_when_counting_began(page: str) -> None:
    assert "_created" not in page
    names = [line.split(" ")[2] for line in page.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
