"""The cut-over's protocol as a small machine, of which every interleaving can be looked at.

Writers admit operations to the journal, send them, and learn of their outcome; answers get lost, requests land late, writers are killed and their operations taken
over; the mirror applies, sometimes twice; the copy runs; the switch closes, drains, catches up and turns, or is aborted, and goes back. `Model.successors`
answers all that may happen next, each with the name of its transition. A mutant leaves one of the protocol's protections out.

Two things are asked of every state that can be reached. The backend that reads are routed to holds, for each record, an operation at least as new as the newest that
was acknowledged. And where nothing can happen any more, both backends hold the same, which is the journal replayed in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

__all__ = ["MUTANTS", "Found", "Model", "State", "Step", "explore"]

Kind = Literal["set", "delete", "increment"]
Step = tuple[int, Kind, str | None]
"""One write of a program: the record, what is done, the value that is set."""

MUTANTS: Final = (
    "no barrier at arming",
    "no order per record",
    "position read before the drain",
    "no catching up",
    "route looked up before admission",
    "no fence at the backend",
    "an unknown outcome is a failure",
    "switch before the copy is done",
    "intent not durable",
    "no mirror back",
    "copy overwrites",
    "no tombstones",
    "no guard at the mirror",
    "commands replayed",
    "precondition taken anew",
)


class Stored(NamedTuple):
    """A record as a backend holds it: its value, how often it was written, and the operation that wrote it last."""

    value: Any
    version: int
    operation: int


class Entry(NamedTuple):
    """One operation of the journal. Its number is its place, from 1 on.

    `status`: an *intent* has been admitted, a *done* one has an outcome, a *mirrored* one is in both backends, a *failed* one nowhere. `pinned` is the version
    that its first attempt found, which every later one asks for too.
    """

    record: int
    kind: Kind
    value: str | None
    primary: str
    status: Literal["intent", "done", "mirrored", "failed"]
    image: Any
    pinned: int | None


class Message(NamedTuple):
    """A request on its way. `guard` is what must hold where it arrives: a version, or that what is stored comes from an older operation."""

    operation: int
    to: str
    record: int
    kind: str
    value: Any
    guard: tuple[str, int] | None


class Writer(NamedTuple):
    """Where a writer is in its program. One that was killed goes on as the one who took over: it acknowledges to nobody (`alone`)."""

    next: int
    at: Literal["idle", "looked", "admitted", "waiting", "unknown", "applied"]
    operation: int
    alone: bool
    looked: str


class Budget(NamedTuple):
    """How much may still go wrong."""

    kills: int
    timeouts: int
    duplicates: int


class State(NamedTuple):
    """Everything."""

    open: bool
    primary: str
    a: tuple[Stored, ...]
    b: tuple[Stored, ...]
    journal: tuple[Entry, ...]
    net: tuple[Message, ...]
    writers: tuple[Writer, ...]
    copied: int
    read: Any
    stage: int
    turns: int
    head: int
    acknowledged: frozenset[int]
    budget: Budget


START: Final = "start"
_UNREAD: Final = ("unread",)
RUNNING, CLOSED, DRAINED, CAUGHT_UP, ENDED = range(5)


class Model:
    """One configuration: what the writers do, how a backend is fenced, and what may go wrong.

    `fence`: "version" (a precondition that the first attempt pins), "operation" (the record carries its operation's number), or "quarantine" (no fence: who does not know
    waits until no request of the operation can be alive).
    """

    def __init__(
        self,
        programs: Sequence[Sequence[Step]],
        *,
        records: int = 1,
        fence: Literal["version", "operation", "quarantine"] = "version",
        kills: int = 1,
        timeouts: int = 1,
        duplicates: int = 1,
        abort: bool = False,
        back: bool = False,
        unjournalled: bool = False,
        mutant: str | None = None,
    ) -> None:
        if mutant is not None and mutant not in MUTANTS:
            raise ValueError(f"there is no mutant {mutant!r}")
        self.programs = programs
        self.records = records
        self.fence = fence
        self.abort = abort
        self.turns = 2 if back else 1
        self.mutant = mutant
        self.unjournalled = unjournalled
        counted = {record for program in programs for record, kind, _ in program if kind == "increment"}
        early = (Message(0, "a", 0, "set", "early", None),) if unjournalled else ()
        self.first = State(
            open=True,
            primary="a",
            a=tuple(Stored(0 if record in counted else START, 1, 0) for record in range(records)),
            b=tuple(Stored(None, 0, 0) for _ in range(records)),
            journal=(),
            net=early,
            writers=tuple(Writer(0, "idle", 0, False, "") for _ in programs),
            copied=0,
            read=_UNREAD,
            stage=RUNNING,
            turns=0,
            head=0,
            acknowledged=frozenset(),
            budget=Budget(kills, timeouts, duplicates),
        )

    def without(self, protection: str) -> bool:
        """Whether this mutant leaves the protection out."""
        return self.mutant == protection

    # -- what may happen ------------------------------------------------------------------------------------------

    def successors(self, state: State) -> Iterator[tuple[str, State]]:
        """All that may happen next, by the name of the transition."""
        arming = not self.without("no barrier at arming") and any(not sent.operation for sent in state.net)
        for place in range(len(state.writers)):
            yield from self._writer(state, place, arming=arming)
        for sent in dict.fromkeys(state.net):
            yield "arrive", self._arrive(state, sent)
        yield from self._mirror(state)
        if not arming:
            yield from self._copy(state)
        yield from self._switch(state)

    def _writer(self, state: State, place: int, *, arming: bool) -> Iterator[tuple[str, State]]:
        writer = state.writers[place]
        if writer.at == "idle":
            if writer.next < len(self.programs[place]) and not arming and state.open:
                if self.without("route looked up before admission"):
                    yield "look", _with(state, place, writer._replace(at="looked", looked=state.primary))
                else:
                    yield "admit", self._admit(state, place, state.primary)
            return
        if writer.at == "looked":
            yield "admit", self._admit(state, place, writer.looked)
            return
        entry = state.journal[writer.operation - 1]
        if writer.at == "admitted" and self._first_of_its_record(state, writer.operation):
            yield "send", self._send(state, place, entry)
        elif writer.at == "unknown":
            yield from self._resolve(state, place, entry)
        elif writer.at == "applied":
            yield "finish", self._finish(state, place, entry)
        yield from self._troubles(state, place)

    def _admit(self, state: State, place: int, primary: str) -> State:
        writer = state.writers[place]
        record, kind, value = self.programs[place][writer.next]
        journal = (*state.journal, Entry(record, kind, value, primary, "intent", None, None))
        admitted = writer._replace(at="admitted", operation=len(journal), alone=False, looked="")
        return _with(state, place, admitted)._replace(journal=journal)

    def _first_of_its_record(self, state: State, operation: int) -> bool:
        if self.without("no order per record"):
            return True
        record = state.journal[operation - 1].record
        return not any(e.record == record and e.status == "intent" for e in state.journal[: operation - 1])

    def _send(self, state: State, place: int, entry: Entry) -> State:
        writer = state.writers[place]
        pinned = entry.pinned
        if pinned is None or self.without("precondition taken anew"):
            pinned = _held(state, entry.primary)[entry.record].version
        guard: tuple[str, int] | None = ("version", pinned) if self.fence == "version" else ("older", writer.operation)
        if self.fence == "quarantine" or self.without("no fence at the backend"):
            guard = None
        sent = Message(writer.operation, entry.primary, entry.record, entry.kind, entry.value, guard)
        state = _journalled(state, writer.operation, entry._replace(pinned=pinned))
        return _with(state, place, writer._replace(at="waiting"))._replace(net=_sorted((*state.net, sent)))

    def _resolve(self, state: State, place: int, entry: Entry) -> Iterator[tuple[str, State]]:
        """An outcome that is not known: read back what the backend holds, and roll forward."""
        writer = state.writers[place]
        if self.fence == "quarantine" and any(sent.operation == writer.operation for sent in state.net):
            return
        if self.without("an unknown outcome is a failure"):
            failed = _journalled(state, writer.operation, entry._replace(status="failed"))
            yield "report failure", _with(failed, place, Writer(writer.next + 1, "idle", 0, False, ""))
        elif _held(state, entry.primary)[entry.record].operation == writer.operation:
            yield "read back: applied", _with(state, place, writer._replace(at="applied"))
        else:
            yield "read back: roll forward", _with(state, place, writer._replace(at="admitted"))

    def _finish(self, state: State, place: int, entry: Entry) -> State:
        writer = state.writers[place]
        image = _held(state, entry.primary)[entry.record].value
        state = _journalled(state, writer.operation, entry._replace(status="done", image=image))
        if not writer.alone:
            state = state._replace(acknowledged=state.acknowledged | {writer.operation})
        return _with(state, place, Writer(writer.next + 1, "idle", 0, False, ""))

    def _troubles(self, state: State, place: int) -> Iterator[tuple[str, State]]:
        writer, budget = state.writers[place], state.budget
        if writer.at == "waiting" and budget.timeouts:
            late = _with(state, place, writer._replace(at="unknown"))
            late = late._replace(budget=budget._replace(timeouts=budget.timeouts - 1))
            yield "time out", late
            for sent in state.net:
                if sent.operation == writer.operation:
                    yield "lose the request", late._replace(net=_less(late.net, sent))
        if writer.at in ("admitted", "waiting", "unknown", "applied") and not writer.alone and budget.kills:
            state = state._replace(budget=budget._replace(kills=budget.kills - 1))
            if self.without("intent not durable"):
                gone = state.journal[writer.operation - 1]._replace(status="failed")
                state = _journalled(state, writer.operation, gone)
                yield "kill", _with(state, place, Writer(writer.next + 1, "idle", 0, False, ""))
            else:
                yield "kill", _with(state, place, writer._replace(at="unknown", alone=True))

    def _arrive(self, state: State, sent: Message) -> State:
        """A request reaches its backend, which applies it or refuses it; whoever waits for it learns which."""
        held = _held(state, sent.to)[sent.record]
        accepted = (
            sent.guard is None
            or (sent.guard[0] == "version" and sent.guard[1] == held.version)
            or (sent.guard[0] == "older" and held.operation < sent.guard[1])
        )
        state = state._replace(net=_less(state.net, sent))
        if accepted:
            value = sent.value if sent.kind == "image" else _done(held.value, sent.kind, sent.value)
            state = _stored(state, sent.to, sent.record, Stored(value, held.version + 1, sent.operation))
        for place, writer in enumerate(state.writers):
            waits = writer.operation == sent.operation and writer.at == "waiting"
            if waits and sent.to == state.journal[sent.operation - 1].primary:
                # Refused: perhaps by an attempt of its own that landed before. Only reading back tells.
                state = _with(state, place, writer._replace(at="applied" if accepted else "unknown"))
        return state

    def _mirror(self, state: State) -> Iterator[tuple[str, State]]:
        for place, entry in enumerate(state.journal):
            operation = place + 1
            if entry.status != "done":
                continue
            if not self.without("no order per record") and any(
                e.record == entry.record and e.status in ("intent", "done") for e in state.journal[:place]
            ):
                continue
            to = "b" if entry.primary == "a" else "a"
            marked = _journalled(state, operation, entry._replace(status="mirrored"))
            if self.without("no mirror back") and entry.primary == "b":
                yield "mirror", marked
                continue
            held = _held(state, to)[entry.record]
            replay = self.without("commands replayed")
            value = _done(held.value, entry.kind, entry.value) if replay else entry.image
            after = marked
            if held.operation < operation or self.without("no order per record"):
                kept = 0 if self.without("no tombstones") and entry.kind == "delete" else operation
                after = _stored(marked, to, entry.record, Stored(value, held.version + 1, kept))
            yield "mirror", after
            if state.budget.duplicates:
                kind, again = (entry.kind, entry.value) if replay else ("image", entry.image)
                guard = None if replay or self.without("no guard at the mirror") else ("older", operation)
                twin = Message(operation, to, entry.record, kind, again, guard)
                yield (
                    "mirror twice",
                    after._replace(
                        net=_sorted((*after.net, twin)),
                        budget=state.budget._replace(duplicates=state.budget.duplicates - 1),
                    ),
                )

    def _copy(self, state: State) -> Iterator[tuple[str, State]]:
        if state.copied >= self.records or state.primary != "a":
            return
        if state.read is _UNREAD or state.read == _UNREAD:
            yield "copy: read", state._replace(read=("value", state.a[state.copied].value))
            return
        held = state.b[state.copied]
        after = state._replace(copied=state.copied + 1, read=_UNREAD)
        if self.without("copy overwrites") or held.operation == 0:
            after = _stored(after, "b", state.copied, Stored(state.read[1], held.version + 1, held.operation))
        yield "copy: write", after

    def _switch(self, state: State) -> Iterator[tuple[str, State]]:
        if state.stage == RUNNING and state.turns < self.turns:
            if state.copied >= self.records or self.without("switch before the copy is done"):
                ended = [n for n, e in enumerate(state.journal, 1) if e.status != "intent"]
                yield "switch: close", state._replace(open=False, stage=CLOSED, head=max(ended, default=0))
        elif state.stage == CLOSED:
            if self.without("position read before the drain"):
                yield "switch: drained", state._replace(stage=DRAINED)
            elif not any(entry.status == "intent" for entry in state.journal):
                yield "switch: drained", state._replace(stage=DRAINED, head=len(state.journal))
        elif state.stage == DRAINED:
            caught_up = all(entry.status in ("mirrored", "failed") for entry in state.journal[: state.head])
            if caught_up or self.without("no catching up"):
                yield "switch: caught up", state._replace(stage=CAUGHT_UP)
        elif state.stage == CAUGHT_UP:
            other = "b" if state.primary == "a" else "a"
            turns = state.turns + 1
            stage = RUNNING if turns < self.turns else ENDED
            yield "switch: turn", state._replace(open=True, primary=other, stage=stage, turns=turns, head=0)
        if self.abort and state.stage in (CLOSED, DRAINED, CAUGHT_UP):
            yield "switch: abort", state._replace(open=True, stage=ENDED, head=0)

    # -- what must hold -------------------------------------------------------------------------------------------

    def wrong(self, state: State) -> str | None:
        """Why this state must not be; None where it may."""
        for record, held in enumerate(_held(state, state.primary)):
            newest = max((n for n in state.acknowledged if state.journal[n - 1].record == record), default=0)
            if held.operation < newest:
                return f"record {record}: reads go to {state.primary}, at {held.operation}; {newest} was acknowledged"
        return None

    def at_rest(self, state: State) -> bool:
        """Whether everybody has come to an end."""
        return (
            all(w.next >= len(self.programs[place]) and w.at == "idle" for place, w in enumerate(state.writers))
            and state.stage == ENDED
            and not state.net
            and all(entry.status in ("mirrored", "failed") for entry in state.journal)
            and state.copied >= self.records
        )

    def wrong_at_rest(self, state: State) -> str | None:
        """Why the backends must not be left like this; None where they may."""
        for record in range(self.records):
            value: Any = "early" if self.unjournalled and record == 0 else self.first.a[record].value
            for entry in state.journal:
                if entry.record == record and entry.status == "mirrored":
                    value = _done(value, entry.kind, entry.value)
            if not state.a[record].value == state.b[record].value == value:
                return f"record {record}: {state.a[record].value} and {state.b[record].value}; the journal says {value}"
        return None


class Found(NamedTuple):
    """What exploring found: how many states, which transitions, how many ends, and the shortest way to what is wrong."""

    states: int
    transitions: frozenset[str]
    ends: int
    wrong: str | None
    way: tuple[str, ...]


def explore(model: Model) -> Found:
    """Look at every state that can be reached, the nearest first, until one is wrong."""
    came: dict[State, tuple[State, str] | None] = {model.first: None}
    waiting = deque([model.first])
    names: set[str] = set()
    ends = 0

    def end(wrong: str | None, state: State) -> Found:
        way = []
        while (step := came[state]) is not None:
            state, name = step
            way.append(name)
        return Found(len(came), frozenset(names), ends, wrong, tuple(reversed(way)))

    while waiting:
        state = waiting.popleft()
        wrong = model.wrong(state)
        if wrong is not None:
            return end(wrong, state)
        following = list(model.successors(state))
        if model.at_rest(state):
            ends += 1
            wrong = model.wrong_at_rest(state)
            if wrong is not None:
                return end(wrong, state)
        elif not following:
            return end("nothing can happen any more, and not all have come to an end", state)
        for name, after in following:
            names.add(name)
            if after not in came:
                came[after] = (state, name)
                waiting.append(after)
    return end(None, model.first)


def _held(state: State, backend: str) -> tuple[Stored, ...]:
    return state.a if backend == "a" else state.b


def _stored(state: State, backend: str, record: int, stored: Stored) -> State:
    held = _held(state, backend)
    changed = (*held[:record], stored, *held[record + 1 :])
    return state._replace(a=changed) if backend == "a" else state._replace(b=changed)


def _journalled(state: State, operation: int, entry: Entry) -> State:
    return state._replace(journal=(*state.journal[: operation - 1], entry, *state.journal[operation:]))


def _with(state: State, place: int, writer: Writer) -> State:
    return state._replace(writers=(*state.writers[:place], writer, *state.writers[place + 1 :]))


def _sorted(net: tuple[Message, ...]) -> tuple[Message, ...]:
    return tuple(sorted(net, key=repr))


def _less(net: tuple[Message, ...], sent: Message) -> tuple[Message, ...]:
    place = net.index(sent)
    return (*net[:place], *net[place + 1 :])


def _done(value: Any, kind: str, given: Any) -> Any:
    if kind == "increment":
        return (value or 0) + 1
    return None if kind == "delete" else given
