"""Which endpoint answers a path, and in which dialect, known before anything of a request is
looked at.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Scope

from openllm.errors import MethodNotAllowed, NotFound, call
from openllm.http.dialect import Dialect

if TYPE_CHECKING:
    from openllm.http.exchange import Exchange

Handler = Callable[["Exchange"], Awaitable[None]]
Beside = Callable[[ASGIApp], Coroutine[Any, Any, None]]  # given the application itself


class Endpoint:
    """What a route leads to. `path` labels it in metrics; `public`: no key is needed, and nothing
    is counted. `shared`: the path is another vendor's too, and this answers those alone whose
    headers show a client of its dialect (`Dialect.speaks`). `beside`: work of its own, which begins
    once the models are up and is cancelled when the server closes. `statuses`: those of
    answers that are no errors. `described`: the server's description of itself has it.
    `content_type`: that of those answers where it is not the dialect's.
    """

    def __init__(
        self,
        path: str,
        handler: Handler,
        dialect: Dialect,
        *,
        public: bool = False,
        shared: bool = False,
        beside: Beside | None = None,
        statuses: Sequence[int] = (200,),
        described: bool = True,
        content_type: bytes | None = None,
    ) -> None:
        self.beside = beside
        self.statuses = statuses
        self.described = described
        self.path = path
        self.handler = handler
        self.dialect = dialect
        self.content_type = content_type or dialect.content_type
        self.public = public
        self.shared = shared

    async def __call__(self, exchange: Exchange) -> None:
        await self.handler(exchange)


@attrs.frozen
class Found:
    """What stands at a path."""

    dialect: Dialect
    endpoint: Endpoint | None = None
    params: Mapping[str, Any] = attrs.field(factory=dict)  # of the path
    others: tuple[str, ...] = ()  # methods: the endpoint is there, but not for the one asked

    @property
    def public(self) -> bool:
        return self.endpoint is not None and self.endpoint.public

    def reach(self, method: str, path: str) -> Endpoint:
        """What answers. Errors: NotFound, MethodNotAllowed."""
        where = f"{method} {path[:128]}"
        if self.others:
            raise MethodNotAllowed(
                f"{where}: this route has other methods.",
                hint=f"It takes {', '.join(self.others)}.",
            )
        if self.endpoint is None:
            lists = f"{call('models')} lists the models."
            known = "models" in self.dialect.calls
            raise NotFound(f"There is no {where}.", hint=lists if known else None)
        return self.endpoint


class Routes:
    """All routes of one server."""

    def __init__(self, routes: Sequence[Route]) -> None:
        # the endpoints that some requests alone are for are asked first
        self._routes = sorted(
            ((route, endpoint_of(route)) for route in routes), key=lambda item: not item[1].shared
        )
        self._shared = frozenset(
            (method, route.path)
            for route, endpoint in self._routes
            for method in route.methods or ()
            if endpoint.shared
        )
        # Asking one route after the other takes time; where a path is all there is to match, it
        # can be looked up
        self._plain = {
            (method, route.path): Found(endpoint.dialect, endpoint)
            for route, endpoint in reversed(self._routes)
            for method in route.methods or ()
            if not route.param_convertors and (method, route.path) not in self._shared
        }

    def __iter__(self) -> Iterator[Route]:
        return (route for route, _ in self._routes)

    def beside(self) -> set[Beside]:
        """The work that goes on beside requests."""
        return {endpoint.beside for _, endpoint in self._routes if endpoint.beside is not None}

    def find(self, scope: Scope, path: str) -> Found:
        """What answers a request for `path` (without the prefix that `scope` has it under), or for
        that which a client means by it.
        """
        found = self._plain.get((scope["method"], path))
        if found is not None:
            return found
        tidy = "/" + "/".join(part for part in path.split("/") if part)
        if tidy == path:
            found = self._ask(scope, path)
        else:
            scope = {**scope, "path": tidy, "root_path": ""}
            found = self._ask(scope, tidy)
            if found.public:  # what needs no key is where it is, and nowhere else
                return Found(found.dialect)
        return found if found.endpoint is not None else self._respelled(scope, tidy) or found

    def _respelled(self, scope: Scope, path: str) -> Found | None:
        """What a vendor's clients mean by `path`, among the vendor's own routes."""
        dialect = self.dialect(path)
        for spelling in dialect.spellings(path):
            found = self._ask({**scope, "path": spelling, "root_path": ""}, spelling)
            if found.endpoint is not None and isinstance(found.dialect, type(dialect)):
                return found
        return None

    def _ask(self, scope: Scope, path: str) -> Found:
        found = None
        headers = dict(scope["headers"]) if self._shared else {}
        for route, endpoint in self._routes:
            if endpoint.shared and not endpoint.dialect.speaks(headers):
                continue
            match, child = route.matches(scope)
            if match is Match.FULL:
                return Found(endpoint.dialect, endpoint, child["path_params"])
            if match is Match.PARTIAL and found is None:
                found = Found(endpoint.dialect, endpoint, others=tuple(sorted(route.methods or ())))
        return found or Found(self.dialect(path))

    def dialect(self, path: str) -> Dialect:
        """The dialect for a path that no route has: of those whose prefix it has, the one with the
        longest; else the first.
        """
        known = [endpoint.dialect for _, endpoint in self._routes]
        fits = [
            (len(prefix), dialect)
            for dialect in known
            for prefix in dialect.prefixes
            if path.startswith(prefix)
        ]
        return max(fits, key=lambda fit: fit[0])[1] if fits else known[0]


def endpoint_of(route: Route) -> Endpoint:
    """What `route` leads to. Errors: TypeError for something else than an `Endpoint`."""
    if not isinstance(route.endpoint, Endpoint):
        raise TypeError(f"The route {route.path} has no Endpoint, but {route.endpoint!r}.")
    return route.endpoint
