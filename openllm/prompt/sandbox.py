"""A Jinja environment for templates that nobody has read: no side effects, bounded time, bounded
size; it truly stops.

Jinja's own sandbox keeps a template away from Python's internals but lets it loop and grow without
end. Here every loop pass, call, filter and operator looks at the clock, and every value that a
template builds is weighed before the next can be built from it (`openllm.prompt.limits`): so no
single step is ever large, and the clock is always looked at again.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from jinja2 import Template, TemplateError, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from openllm.prompt.limits import Budget, Limits, TemplateLimit

# What compiling or rendering can raise: all mean that the template is broken, or does not fit what
# it was given.
TEMPLATE_ERRORS = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
_REFUSED_FILTERS = frozenset(
    {"forceescape", "pprint", "striptags", "urlize", "wordwrap", "xmlattr"}
)  # super-linear
_REFUSED_METHODS = frozenset({"encode", "expandtabs", "maketrans", "to_bytes", "translate"})
_LARGEST_ARGUMENT = 2**20  # of a number given to a filter
_LONGEST_SEPARATOR = 4  # characters, of JSON
_WIDEST_INDENT = 64  # characters, of JSON


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}` marks an answer for training; here it is only a
    scope.
    """

    tags = {"generation"}  # noqa: RUF012 - declared so by Jinja

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(
            parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line
        )


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Compiles templates (`from_string`) and renders them, each rendering on one thread and within
    `limits`.
    """

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self, limits: Limits) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Generation, loopcontrols],
            finalize=self._printed,
            cache_size=0,
        )
        self.budget = Budget(limits)
        # Jinja means it to be replaced
        self.concat = self.budget.concat  # type: ignore[method-assign]
        originals = {**self.filters, "tojson": self._tojson}
        self.filters = {
            name: self._metered(name, call)
            for name, call in originals.items()
            if name not in _REFUSED_FILTERS
        }
        self.filters |= {".tick": self._ticked, ".held": self._held, ".joined": self._joined}
        self.globals.pop("lipsum", None)
        self.globals |= {"raise_exception": _raise_exception, "strftime_now": _strftime_now}

    def render_bounded(self, template: Template, variables: Mapping[str, Any]) -> str:
        """The text that `template` makes of `variables`. Errors: those in TEMPLATE_ERRORS."""
        self.budget.start()
        self.budget.weigh(variables)
        return self.budget.concat(template.root_render_func(template.new_context(dict(variables))))

    # What compiled code calls
    # ---------------------------------------------------------------------------------------

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Every call that a template makes."""
        self.budget.tick()
        for value in (*args, *kwargs.values()):
            self.budget.weigh(value)
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str | int | float | bytes):
            args = self._bounded_arguments(obj.__name__, owner, args)
        return self.budget.weighed(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        self.budget.tick()
        if operator == "*":
            self.budget.check_product(left, right)
        elif operator == "**":
            self.budget.check_power(left, right)
        elif operator == "%" and isinstance(left, str):
            self.budget.check_format(left, right)
        return self.budget.weighed(super().call_binop(context, operator, left, right))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """`str.format` and `str.format_map` as a template gets them."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def bounded(*args: Any, **kwargs: Any) -> str:
            self.budget.check_format(value.__self__, [*args, kwargs])
            return wrapped(*args, **kwargs)

        return bounded

    def _generate(
        self, source: nodes.Template, name: Any, filename: Any, defer_init: bool = False
    ) -> str:
        """Jinja's hook between parsing and code: adds ticks to loops, and weighing to what builds
        values.
        """
        for loop in list(source.find_all(nodes.For)):
            loop.body.insert(
                0, nodes.ExprStmt(_filtered(nodes.Const(0, lineno=loop.lineno), ".tick"))
            )
        for assign in list(source.find_all(nodes.Assign)):
            if not isinstance(assign.node, nodes.Name | nodes.Const | nodes.Getattr):
                assign.node = _filtered(assign.node, ".held")
        for block in list(source.find_all(nodes.With)):
            block.values = [_filtered(value, ".held") for value in block.values]
        _replace_concats(source)
        source.set_environment(self)
        return str(super()._generate(source, name, filename, defer_init))

    # What the compiled code has instead of Jinja's own
    # ---------------------------------------------------------------

    def _printed(self, value: Any) -> Any:
        """Jinja's finalize: what may stand in `{{ }}`."""
        if isinstance(value, Namespace | Iterator):
            raise TemplateError(f"it prints a {type(value).__name__}")
        self.budget.weigh(value)
        return value

    @pass_context
    def _ticked(self, context: Context, value: Any) -> Any:
        self.budget.tick()
        return value

    @pass_context
    def _held(self, context: Context, value: Any) -> Any:
        """What a name is about to hold."""
        self.budget.tick()
        return self.budget.weighed(value)

    @pass_context
    def _joined(self, context: Context, values: list[Any]) -> str:
        """The operator `~`."""
        return self.budget.concat(str(self._printed(value)) for value in values)

    def _metered(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Jinja's filter `name` within the budget; it takes the context, so that the compiler
        never folds it away.
        """
        wanted = getattr(getattr(call, "jinja_pass_arg", None), "name", None)
        lead: Callable[[Context], tuple[Any, ...]] = {
            "context": lambda context: (context,),
            "eval_context": lambda context: (context.eval_ctx,),
            "environment": lambda context: (context.environment,),
        }.get(str(wanted), lambda context: ())

        @functools.wraps(call, assigned=("__name__", "__doc__"), updated=())
        def metered(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
            self.budget.tick()
            if isinstance(value, Namespace):
                raise TemplateError(f"it filters a namespace by {name}")
            self.budget.weigh(value)
            self._check_filter(name, value, (*args, *kwargs.values()))
            return self.budget.weighed(call(*lead(context), value, *args, **kwargs))

        return pass_context(metered)

    def _check_filter(self, name: str, value: Any, args: tuple[Any, ...]) -> None:
        """Refuse what the filter would make too large."""
        if not args:
            return
        self.budget.weigh(args)
        if name in ("default", "d", "items", "tojson"):
            return
        if any(isinstance(arg, int) and abs(arg) > _LARGEST_ARGUMENT for arg in args):
            raise TemplateLimit(f"it gives {name} too large a number")
        if name == "replace" and len(args) >= 2:
            self.budget.check_replace(str(value), str(args[0]), str(args[1]))
        elif name == "join" and hasattr(value, "__len__"):
            self.budget.check(len(value) * len(str(args[0])))
        elif name == "format":
            self.budget.check_format(str(value), args)
        elif name == "indent":
            width = len(args[0]) if isinstance(args[0], str) else int(args[0])
            self.budget.check((str(value).count("\n") + 1) * width)
        elif name == "sum" and any(isinstance(arg, list | tuple) for arg in args):
            raise TemplateError("it sums lists")

    def _bounded_arguments(self, method: str, owner: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """`args` of a method of a text or number, checked; an iterator given to `join` becomes a
        list.
        """
        if method in _REFUSED_METHODS:
            raise SecurityError(f"it calls {method}")
        if not isinstance(owner, str):
            return args
        if method == "join" and args:
            items = list(self.budget.counted(args[0]))
            self.budget.check(self.budget.weigh(items) + len(owner) * len(items))
            return (items, *args[1:])
        if method == "replace" and len(args) >= 2:
            self.budget.check_replace(owner, str(args[0]), str(args[1]))
        elif method in ("split", "rsplit", "splitlines"):
            self.budget.check_split(owner, args)
        elif method in ("center", "ljust", "rjust", "zfill") and args and isinstance(args[0], int):
            self.budget.check(args[0])
        return args

    def _tojson(
        self,
        value: Any,
        ensure_ascii: bool = False,
        indent: Any = None,
        separators: Any = None,
        sort_keys: bool = False,
    ) -> str:
        """As transformers has it: no HTML escapes, non-ASCII kept."""
        width = len(indent) if isinstance(indent, str) else int(indent or 0)
        if width > _WIDEST_INDENT or (
            separators and max(map(len, separators)) > _LONGEST_SEPARATOR
        ):
            raise TemplateLimit("it spaces JSON too widely")
        encoder = json.JSONEncoder(
            ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )
        return self.budget.concat(encoder.iterencode(value))


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    """`node | name` as a syntax tree; the dot in the names keeps templates from writing them."""
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _replace_concats(tree: nodes.Node) -> None:
    """`a ~ b` becomes a filter over `[a, b]`, everywhere in `tree`."""
    for name, value in list(tree.iter_fields()):
        setattr(
            tree,
            name,
            [_replaced(item) for item in value] if isinstance(value, list) else _replaced(value),
        )


def _replaced(value: Any) -> Any:
    if isinstance(value, tuple):  # a Dict's items are Pairs; a test's or call's fields may nest
        return tuple(_replaced(item) for item in value)
    if not isinstance(value, nodes.Node):
        return value
    _replace_concats(value)
    if isinstance(value, nodes.Concat):
        return _filtered(nodes.List(value.nodes, lineno=value.lineno), ".joined")
    return value


def _raise_exception(message: object) -> None:
    raise TemplateError(str(message))


def _strftime_now(form: str) -> str:
    if len(form) > 256 or any(part[:1].isdigit() for part in form.split("%")[1:]):
        raise TemplateLimit("it formats the time with a width")
    return datetime.now().strftime(form)
