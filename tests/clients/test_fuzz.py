"""Requests that schemathesis makes of our own /openapi.json: none is a 5xx, none has a status, a
content type or an answer that is not described.

FUZZ_SECONDS is how long it goes on (`make fuzz`: ten minutes), FUZZ_SEED what it begins with.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients import servers

pytest.importorskip("schemathesis", reason="needs `make test-clients`")

SECONDS = int(os.environ.get("FUZZ_SECONDS", "12"))
SEED = os.environ.get("FUZZ_SEED", "1")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
START_SECONDS = 60  # the tool's own, beside those of its run


@pytest.mark.timeout(servers.START_SECONDS + SECONDS + START_SECONDS)
def test_what_is_described_is_what_is_answered() -> None:
    with servers.new_home() as home, servers.echo(Path(home)) as url:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
            *("--checks", ",".join(CHECKS), "--phases", "coverage,fuzzing"),
            *("--max-examples", "5", "--max-time", str(SECONDS), "--seed", SEED),
            *("--workers", "1"),  # in two threads, ast.parse of Python 3.11 fails now and then
            *("--continue-on-failure", "--suppress-health-check", "all"),
            *("--warnings", "off", "--request-timeout", "30"),
        ]
        ran = subprocess.run(
            command,
            cwd=home,
            capture_output=True,
            text=True,
            timeout=SECONDS + START_SECONDS,
            check=False,
        )
    print(ran.stdout)
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
    assert " passed" in ran.stdout
