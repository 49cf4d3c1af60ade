"""Answers and conversations kept in memory for later requests: so many, so many bytes, each for its
owner alone; what was used least recently goes first.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, ParamSpec, TypeVar

import attrs
import msgspec

from openllm.errors import InvalidRequest, NotFound, UnsupportedFeature, option

# What one takes beside its bytes, roughly.
RECORD_BYTES = 1024
ITEM_BYTES = 512


class Item(NamedTuple):
    """An item as it is kept: JSON."""

    id: str
    data: bytes

    @classmethod
    def of(cls, item: dict[str, Any]) -> Item:
        """`item`, which has its id."""
        return cls(item["id"], msgspec.json.encode(item))


def new_id(prefix: str) -> str:
    """An id that nobody guesses: it opens what is kept under it."""
    return f"{prefix}_{secrets.token_hex(24)}"


@attrs.define
class Answered:
    """A response that is kept: with what was asked, without what was before."""

    id: str
    owner: str
    response: bytes  # JSON
    asked: list[Item]
    answered: list[Item]
    previous: str | None = None
    maker: str | None = None  # the `Store.process` that goes on with it in the background

    def items(self) -> Iterator[Item]:
        yield from self.asked
        yield from self.answered

    @property
    def size(self) -> int:
        return RECORD_BYTES + len(self.response) + _size(self.items())


@attrs.define
class Thread:
    """A conversation that is kept."""

    id: str
    owner: str
    created: int
    metadata: dict[str, str]
    kept: dict[str, Item] = attrs.field(factory=dict)  # by id, the oldest first

    def items(self) -> Iterator[Item]:
        yield from self.kept.values()

    @property
    def size(self) -> int:
        return RECORD_BYTES + len(str(self.metadata)) + _size(self.items())


Record = Answered | Thread
Kind = TypeVar("Kind", Answered, Thread)
P = ParamSpec("P")
T = TypeVar("T")


def _size(items: Iterable[Item]) -> int:
    return sum(len(item.data) + ITEM_BYTES for item in items)


class Store:
    """What one process keeps for itself; read from any thread, for large bodies are read off the
    event loop. All errors are NotFound, or UnsupportedFeature where it keeps nothing, and name the
    id.
    """

    shared = False  # with other processes
    process = ""  # which of those this one is

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._records: OrderedDict[str, Record] = OrderedDict()  # the least recently used first
        self._sizes: dict[str, int] = {}
        self._bytes = 0
        self._where: dict[str, str] = {}  # item id -> the record that has it
        self._lock = threading.RLock()

    @property
    def enabled(self) -> bool:
        """Whether anything is kept."""
        return self._most > 0

    async def apart(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` gives, which uses the store: one after the other, in the order in which they
        were asked for; off the event loop where the store may have to wait.
        """
        return work(*args, **kwargs)

    def gone(self, process: str) -> bool:
        """Whether the process of that name has ended."""
        return process != self.process

    def __len__(self) -> int:
        return len(self._records)

    @property
    def bytes(self) -> int:
        """What all records take, roughly."""
        return self._bytes

    def require(self, param: str | None = None) -> None:
        """Errors: UnsupportedFeature where nothing is kept."""
        if not self.enabled:
            raise UnsupportedFeature(
                "This server keeps no answers and no conversations.",
                hint="Send all items with each request; the operator has them kept with"
                f" {option('max_stored_responses')}.",
                param=param,
            )

    # Reading.

    def answered(self, owner: str, name: str, param: str | None = None) -> Answered:
        """The response called `name`."""
        return self._find(Answered, owner, name, param)

    def thread(self, owner: str, name: str, param: str | None = None) -> Thread:
        """The conversation called `name`."""
        return self._find(Thread, owner, name, param)

    def _find(self, kind: type[Kind], owner: str, name: str, param: str | None) -> Kind:
        self.require(param)
        with self.together():
            record = self.current(name)
            if not isinstance(record, kind) or record.owner != owner:
                raise _missing("response" if kind is Answered else "conversation", name, param)
            self._touch(record)
        return record

    def history(self, owner: str, name: str, param: str) -> list[Item]:
        """All items up to and with the response called `name`, the oldest first."""
        chain = [self.answered(owner, name, param)]
        while (earlier := chain[-1].previous) is not None:
            record = self.current(earlier)
            if not isinstance(record, Answered) or record.owner != owner:
                raise _missing("response", earlier, param)
            chain.append(record)
        return [item for record in reversed(chain) for item in record.items()]

    def item(self, owner: str, name: str, param: str) -> Item:
        """The item called `name`, of whatever is kept."""
        self.require(param)
        with self.together():
            record = self.holder(name)
            if record is None or record.owner != owner:
                raise _missing("item", name, param)
            self._touch(record)
        return next(item for item in record.items() if item.id == name)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Nobody else reads or writes meanwhile."""
        with self._lock:
            yield

    def current(self, name: str) -> Record | None:
        """The record called `name`, whose ever it is."""
        return self._records.get(name)

    def holder(self, item: str) -> Record | None:
        """The record that has the item of that name."""
        return self._records.get(self._where.get(item, ""))

    # Writing.

    def put(self, record: Record) -> bool:
        """Keep `record`, new or changed, and forget what there is no room for; False where there is
        none for itself.
        """
        with self._lock:
            self.forget(record)
            size = record.size
            if not self.enabled or size > self._most_bytes:
                return False
            self._records[record.id] = record
            self._sizes[record.id] = size
            self._bytes += size
            self._where.update((item.id, record.id) for item in record.items())
            self._touch(record)
            while len(self._records) > self._most or self._bytes > self._most_bytes:
                self.forget(next(iter(self._records.values())))
            return record.id in self._records

    def add(self, thread: Thread, items: Sequence[Item]) -> None:
        """Add `items` to a conversation as it is by now. Errors: InvalidRequest where it becomes
        too large.
        """
        with self.together():
            known = self.current(thread.id)
            latest = known if isinstance(known, Thread) else thread
            grown = {**latest.kept, **{item.id: item for item in items}}
            larger = attrs.evolve(latest, kept=grown)
            if larger.size > self._most_bytes:
                raise InvalidRequest(
                    f"The conversation is larger than {self._most_bytes} bytes.",
                    hint=f"The operator allows more with {option('max_stored_bytes')}.",
                )
            self.put(larger)

    def forget(self, record: Record) -> None:
        """Forget a record; one that is not kept is fine."""
        with self._lock:
            if (known := self._records.pop(record.id, None)) is None:
                return
            self._bytes -= self._sizes.pop(record.id)
            for item in known.items():
                if self._where.get(item.id) == record.id:
                    del self._where[item.id]

    def _touch(self, record: Record | None) -> None:
        """Note that a record is used, and after it those that it continues: none of these goes
        before it, for it would be of no use without them.
        """
        while record is not None and record.id in self._records:
            self._records.move_to_end(record.id)
            earlier = record.previous if isinstance(record, Answered) else None
            record = None if earlier is None else self._records.get(earlier)


def _missing(kind: str, name: str, param: str | None) -> NotFound:
    return NotFound(
        f"There is no {kind} {name[:128]!r}.",
        hint="It was never kept, or it had to make room; send the items themselves.",
        param=param,
        code="previous_response_not_found" if param == "previous_response_id" else None,
    )
