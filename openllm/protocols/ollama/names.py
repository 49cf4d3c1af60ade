"""What Ollama's clients call a model: a name with a tag, `latest` where none is said."""

from __future__ import annotations

from openllm.errors import ModelNotFound
from openllm.http.body.fields import Fields
from openllm.http.catalog import Catalog, Target

LATEST = ":latest"


def read_name(fields: Fields) -> str | None:
    """`model`, or `name`, as it was called before. Errors: InvalidRequest."""
    model, earlier = fields.text("model"), fields.text("name")
    return model or earlier or None


def tagged(name: str) -> str:
    """The name with its tag, as lists of models have it."""
    return name if ":" in name.rpartition("/")[2] else name + LATEST


def find(catalog: Catalog, name: str | None) -> Target:
    """What a name stands for, with its tag or without. Errors: those of `Catalog.find`."""
    try:
        return catalog.find(name)
    except ModelNotFound:
        if name is None or not name.endswith(LATEST):
            raise
        return catalog.find(name.removesuffix(LATEST))


def running(catalog: Catalog, name: str | None, task: str) -> Target:
    """`find`, for work of one kind. Errors: those of `Catalog.running`."""
    return catalog.running(find(catalog, name).name, task)
