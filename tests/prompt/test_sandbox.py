"""Templates written to hang, to grow or to get out: each is stopped; honest ones work as in plain
Jinja.
"""

from __future__ import annotations

import threading
from pathlib import Path

import jinja2
import jinja2.ext
import pytest
import yaml

from openllm.prompt.limits import Limits, TemplateLimit
from openllm.prompt.sandbox import TEMPLATE_ERRORS, BoundedEnvironment

LIMITS = Limits(seconds=0.15, weight=2**20)
VALUES = {
    "text": "word " * 1000,
    "items": list(range(50)),
    "users": [{"name": "a"}, {"name": "b", "age": 3}],
}


def render(template, **values):
    environment = BoundedEnvironment(LIMITS)
    return environment.render_bounded(environment.from_string(template), {**VALUES, **values})


CASES = yaml.safe_load((Path(__file__).parent / "templates" / "sandbox.yaml").read_text())
HANG, GROW, ESCAPE, HONEST = CASES["hang"], CASES["grow"], CASES["escape"], CASES["honest"]


@pytest.mark.parametrize("name", HANG)
def test_what_never_ends_is_stopped(name):
    with pytest.raises(TEMPLATE_ERRORS):
        render(HANG[name])


@pytest.mark.parametrize("name", GROW)
def test_what_grows_without_end_is_stopped(name):
    with pytest.raises(TEMPLATE_ERRORS):
        render(GROW[name])


@pytest.mark.parametrize("name", ESCAPE)
def test_there_is_no_way_out(name):
    """Jinja's sandbox answers with an undefined value, which prints as nothing, or with an
    error.
    """
    try:
        text = render(ESCAPE[name])
    except TEMPLATE_ERRORS:
        return
    assert text in ("", "[Undefined]")


def test_a_stopped_template_says_why():
    with pytest.raises(TemplateLimit, match="too long"):
        render(HANG["nested loops"])
    with pytest.raises(TemplateLimit, match="too large"):
        render(GROW["doubling by ~"])


def test_too_much_input_is_refused():
    with pytest.raises(TemplateLimit):
        render("ok", more="x" * 2**21)


def test_each_thread_has_its_own_clock():
    environment = BoundedEnvironment(LIMITS)
    slow = environment.from_string(HANG["nested loops"])
    quick = environment.from_string("{% for i in range(100) %}{{ i }}{% endfor %}")
    ended = []

    def run_slow():
        try:
            environment.render_bounded(slow, {})
        except TemplateLimit:
            ended.append("slow")

    thread = threading.Thread(target=run_slow)
    thread.start()
    while thread.is_alive():
        assert environment.render_bounded(quick, {}).startswith("0123")
    assert ended == ["slow"]


@pytest.mark.parametrize("template", HONEST)
def test_honest_templates_work_as_in_plain_jinja(template):
    plain = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    assert render(template) == plain.from_string(template).render(**VALUES)
