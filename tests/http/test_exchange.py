"""The path of an exchange, below whatever prefix the application is mounted."""

from __future__ import annotations

import pytest

from openllm.http.exchange import route_path


@pytest.mark.parametrize(
    ("path", "root", "found"),
    [
        ("/a", "", "/a"),
        ("/m/a", "/m", "/a"),
        ("/m", "/m", ""),
        ("/mm/a", "/m", "/mm/a"),
        ("/a", "/m", "/a"),
    ],
)
def test_the_path_is_the_routes(path: str, root: str, found: str) -> None:
    assert route_path({"path": path, "root_path": root}) == found
