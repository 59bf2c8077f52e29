"""Money and tokens: the worst case of each request is reserved in a ledger before it is sent, and settled after.

The ledger is one SQLite file for all runs of a user, safe between processes. A request counts in several scopes, its
run's, its batch's and its day's, and is refused where one of them would go beyond its limit: what is spent, what is
reserved and what is asked for never exceed it together. So no number of processes overspends.

A reservation is made right before its request is sent, and its owner is a file that the owning process keeps locked
(flock): the kernel drops the lock when the process ends, however it ends. What a dead owner had reserved was most
likely sent, and a provider may bill an answer that nobody heard, so it counts as spent at its worst case from the
moment on at which anybody looks: nothing stays reserved, and the sum is never less than the bill.
"""

from __future__ import annotations

import fcntl
import secrets
import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from agent.errors import EnvironmentFault

NANO = 1_000_000_000
"""Money is counted in whole nano-dollars: the dearest and the cheapest token are whole numbers, or rounded up."""
MOST = 10**15
"""Of nano-dollars or tokens in one request, whatever a server says, so that sums stay within SQLite's integers."""
BUSY_SECONDS = 30.0
"""For other processes' transactions, which take about a millisecond each."""

LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay", "bcachefs"})
"""File systems whose files no other machine has open."""

_SCHEMA = """
CREATE TABLE spent (
    scope TEXT PRIMARY KEY, nano_usd INTEGER NOT NULL, tokens INTEGER NOT NULL, unpriced INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE reserved (
    id TEXT, scope TEXT, owner TEXT NOT NULL, nano_usd INTEGER, tokens INTEGER NOT NULL, PRIMARY KEY (id, scope)
) WITHOUT ROWID;
PRAGMA user_version = 1;
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """What may be spent in one scope; None is without limit."""

    usd: Decimal | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Amount:
    """`nano_usd` is None at an unknown price; `tokens` are all that a request has: input, cached or not, and output."""

    nano_usd: int | None
    tokens: int

    @property
    def usd(self) -> float:
        """Dollars, for people; 0 at an unknown price."""
        return (self.nano_usd or 0) / NANO

    @property
    def dollars(self) -> Decimal | None:
        """None at an unknown price."""
        return None if self.nano_usd is None else Decimal(self.nano_usd) / NANO

    @classmethod
    def of(cls, usd: Decimal | None, tokens: int) -> Amount:
        """Rounded up, and within bounds."""
        if usd is not None:
            usd = min(usd * NANO, Decimal(MOST)).to_integral_value(ROUND_CEILING)
        return cls(None if usd is None else max(0, int(usd)), max(0, min(tokens, MOST)))


@dataclass(frozen=True, slots=True)
class Account:
    """How one scope stands."""

    limit: Limit
    spent: Amount
    reserved: Amount
    unpriced: int = 0
    """Requests at unknown prices, whose dollars are in no sum."""

    def left(self, *, later: bool = False) -> tuple[int | None, int | None]:
        """Nano-dollars and tokens that may be reserved still, never below 0: what is free may always be sent. `later`:
        when all that is reserved now has come to nothing. None is without limit."""
        nano, tokens = self.spent.nano_usd or 0, self.spent.tokens
        if not later:
            nano, tokens = nano + (self.reserved.nano_usd or 0), tokens + self.reserved.tokens
        usd = self.limit.usd
        return (
            None if usd is None else max(0, int(usd * NANO) - nano),
            None if self.limit.tokens is None else max(0, self.limit.tokens - tokens),
        )

    def told(self) -> dict[str, float | None]:
        """For events and people: `usd_limit`, `usd_spent`, `usd_reserved`, the same of tokens, and `unpriced`."""
        return {
            "usd_limit": None if self.limit.usd is None else float(self.limit.usd),
            "usd_spent": self.spent.usd,
            "usd_reserved": self.reserved.usd,
            "tokens_limit": self.limit.tokens,
            "tokens_spent": self.spent.tokens,
            "tokens_reserved": self.reserved.tokens,
            "unpriced": self.unpriced,
        }

    def takes(self, asked: Amount, *, later: bool = False) -> bool:
        nano, tokens = self.left(later=later)
        return (nano is None or (asked.nano_usd is not None and asked.nano_usd <= nano)) and (
            tokens is None or asked.tokens <= tokens
        )


@dataclass(frozen=True, slots=True)
class Reservation:
    id: str
    scopes: tuple[str, ...]
    asked: Amount
    output: int
    """Tokens that the answer may have."""


class BudgetSpent(Exception):
    """A request that could cost more than is left, and is not sent. Its text is one line for the user."""

    def __init__(self, scope: str, account: Account, asked: Amount, output: int, *, later: bool) -> None:
        self._given = (scope, account, asked, output, later)
        self.later = later
        """Whether it may yet fit, when requests that are under way turn out cheaper than their worst case."""
        kind = scope.partition(":")[0]
        whose = {"run": "this run", "batch": "the batch", "day": "all runs of today (UTC)"}[kind]
        nano, _ = account.left()
        dollars = nano is not None and (asked.nano_usd is None or asked.nano_usd > nano)
        if dollars:
            limit = f"{_usd(int((account.limit.usd or 0) * NANO))} USD"
            said = f"{_usd(account.spent.nano_usd)} of {limit} are spent for {whose}"
            held, cost = _usd(account.reserved.nano_usd), f"{_usd(asked.nano_usd)} USD"
        else:
            limit = f"{account.limit.tokens:,} tokens"
            said = f"{account.spent.tokens:,} of {limit} are spent for {whose}"
            held, cost = f"{account.reserved.tokens:,}", f"{asked.tokens:,} tokens"
        if account.reserved.tokens:
            said += f" and {held} reserved"
        mend = "--budget" if dollars else "--tokens"
        if kind == "day":
            mend = f"{'usd' if dollars else 'tokens'}_per_day in $AGENT_HOME/budget.toml"
        super().__init__(
            f"{said}; the next request could cost {cost}, its answer held to {output:,} tokens; {mend} gives more"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _spent, self._given


def is_of_batch(refusal: str) -> bool:
    """Whether a BudgetSpent with this text was refused by the batch's limit."""
    return " are spent for the batch" in refusal


def is_of_day(refusal: str) -> bool:
    """The same of the user's limit for a day."""
    return " are spent for all runs of today" in refusal


def _spent(scope: str, account: Account, asked: Amount, output: int, later: bool) -> BudgetSpent:
    return BudgetSpent(scope, account, asked, output, later=later)


def _usd(nano: int | None) -> str:
    """Dollars to four places, or as many as it takes to show any."""
    if nano is None:
        return "unknown"
    return f"{nano / NANO:.4f}" if nano == 0 or nano >= NANO // 10_000 else f"{nano / NANO:.9f}".rstrip("0")


class Ledger:
    """The file, for one process; a context manager. For one thread.

    Every method raises EnvironmentFault when the file can't be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._owners = path.with_suffix(".owners")
        try:
            self._owners.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
            self._wal = _with_wal(self._db, path)
            with self._transaction():
                version = self._db.execute("PRAGMA user_version").fetchone()[0]
                if version == 0:
                    for statement in _SCHEMA.split(";"):
                        self._db.execute(statement)
                elif version != 1:
                    raise EnvironmentFault(f"{path}: a ledger of another version of this agent; move it away")
                # Within the transaction: nobody takes the new file for that of a dead owner before it is locked.
                self._owner = secrets.token_hex(8)
                self._lock = (self._owners / self._owner).open("xb")
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for left in self._owners.iterdir():
                    self._bury(left.name)
        except sqlite3.Error as error:
            raise self._fault(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up the file; what is reserved still counts as a dead owner's."""
        (self._owners / self._owner).unlink(missing_ok=True)
        self._lock.close()
        self._db.close()

    def reserve(
        self, scopes: Mapping[str, Limit], worst: Callable[[int], Amount], most: int, least: int | None = None
    ) -> Reservation:
        """Reserve `worst(output)` in every scope, for the longest output of `least` to `most` tokens that fits.

        `worst` gives what a request can cost at most; it grows with the output. Raises BudgetSpent where not even
        `least` (by default `most`) fits.
        """
        least = most if least is None else min(least, most)
        with self._transaction():
            accounts = self._accounts(scopes)

            def refused(output: int) -> bool:
                asked = worst(output)
                return not all(account.takes(asked) for account in accounts.values())

            if refused(least):
                asked = worst(least)
                later = all(account.takes(asked, later=True) for account in accounts.values())
                # The scope that says so for good, if there is one.
                scope = next(name for name in scopes if not accounts[name].takes(asked, later=not later))
                raise BudgetSpent(scope, accounts[scope], asked, least, later=later)
            output = least + bisect_left(range(least + 1, most + 1), True, key=refused)
            made = Reservation(secrets.token_hex(8), tuple(scopes), worst(output), output)
            rows = [(made.id, scope, self._owner, made.asked.nano_usd, made.asked.tokens) for scope in scopes]
            self._db.executemany("INSERT INTO reserved VALUES (?, ?, ?, ?, ?)", rows)
        return made

    def settle(self, reservation: Reservation, actual: Amount) -> None:
        """Count what a request did cost in place of what was reserved for it; also when that is more.

        A loss of power may undo it: then what was reserved counts, which is on the disk before a request is sent."""
        with self._transaction(durable=False):
            self._db.execute("DELETE FROM reserved WHERE id = ?", (reservation.id,))
            for scope in reservation.scopes:
                self._spend(scope, actual)

    def release(self, reservation: Reservation) -> None:
        """Free what was reserved for a request that nobody bills."""
        self.settle(reservation, Amount(0, 0))

    def accounts(self, scopes: Mapping[str, Limit]) -> dict[str, Account]:
        """How scopes stand now."""
        with self._transaction():
            return self._accounts(scopes)

    def _accounts(self, scopes: Mapping[str, Limit]) -> dict[str, Account]:
        for (owner,) in self._db.execute("SELECT DISTINCT owner FROM reserved").fetchall():
            self._bury(owner)
        found: dict[str, Account] = {}
        for scope, limit in scopes.items():
            spent = self._db.execute(
                "SELECT nano_usd, tokens, unpriced FROM spent WHERE scope = ?", (scope,)
            ).fetchone()
            held = self._db.execute(
                "SELECT coalesce(sum(nano_usd), 0), coalesce(sum(tokens), 0) FROM reserved WHERE scope = ?",
                (scope,),
            ).fetchone()
            nano, tokens, unpriced = spent or (0, 0, 0)
            found[scope] = Account(limit, Amount(nano, tokens), Amount(*held), unpriced)
        return found

    def _bury(self, owner: str) -> None:
        """Count as spent what a dead owner had reserved; leave a living one alone."""
        path = self._owners / owner
        if owner == self._owner:
            return
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except FileNotFoundError:
            pass  # it closed the ledger in good order, or somebody tidied up: dead in any case
        rows = self._db.execute(
            "SELECT scope, nano_usd, tokens FROM reserved WHERE owner = ?", (owner,)
        ).fetchall()
        for scope, nano, tokens in rows:
            self._spend(scope, Amount(nano, tokens))
        self._db.execute("DELETE FROM reserved WHERE owner = ?", (owner,))
        path.unlink(missing_ok=True)

    def _spend(self, scope: str, amount: Amount) -> None:
        row = (scope, amount.nano_usd or 0, amount.tokens, amount.nano_usd is None)
        self._db.execute(
            "INSERT INTO spent VALUES (?, ?, ?, ?) ON CONFLICT (scope) DO UPDATE SET"
            " nano_usd = nano_usd + excluded.nano_usd, tokens = tokens + excluded.tokens,"
            " unpriced = unpriced + excluded.unpriced",
            row,
        )

    @contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[None]:
        """The only writer, until the block ends. Undone when it raises. Not `durable`, it is on the disk with the next
        one that is."""
        try:
            if self._wal:
                self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._fault(error) from error

    def _fault(self, error: sqlite3.Error) -> EnvironmentFault:
        return EnvironmentFault(
            f"{self._path}: the ledger of what is spent can't be used: {error}; see to it that its folder can be "
            "written and has room, or move a broken file away (today's sums go with it)"
        )


def _with_wal(db: sqlite3.Connection, path: Path) -> bool:
    """Have SQLite write ahead, where it can: a commit then waits for the disk once instead of three times, and the
    event loop with it. That needs memory which all processes share, so the file must not be on a network's disk."""
    mode = db.execute("PRAGMA journal_mode").fetchone()[0]
    if mode != "wal" and _is_local(path):
        with suppress(sqlite3.OperationalError):  # another process is at it
            mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    return str(mode) == "wal"


def _is_local(path: Path) -> bool:
    """Whether a path is on a disk of this machine, as far as Linux tells; False where nothing is known."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
        mounts = [(line.split()[4], line.partition(" - ")[2].split()[0]) for line in lines]
        resolved = path.resolve()
    except (OSError, IndexError):
        return False
    above = [(place, kind) for place, kind in mounts if resolved.is_relative_to(place)]
    return bool(above) and max(above, key=lambda one: len(one[0]))[1] in LOCAL


class LedgerLike(Protocol):
    """A ledger, or the way to one on another machine."""

    def reserve(
        self, scopes: Mapping[str, Limit], worst: Callable[[int], Amount], most: int, least: int | None = None
    ) -> Reservation: ...

    def settle(self, reservation: Reservation, actual: Amount) -> None: ...

    def accounts(self, scopes: Mapping[str, Limit]) -> dict[str, Account]: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to a budget, and how it stands then."""

    what: Literal["reserved", "settled", "waiting"]
    amount: Amount
    accounts: Mapping[str, Account]
    """By kind: run, batch, day."""
    held_to: int | None = None
    """Tokens that the answer is held to because no more could be paid."""
    beyond: bool = False
    """True when a request cost more than its worst case."""


class Budget:
    """The ledger as one run uses it: its own limit, that of its batch, and the user's for the day."""

    def __init__(
        self,
        ledger: LedgerLike,
        run: str,
        limit: Limit,
        day: Limit | None = None,
        batch: tuple[str, Limit] | None = None,
        on_change: Callable[[Change], None] | None = None,
    ) -> None:
        self._ledger = ledger
        self._scopes = {f"run:{run}": limit}
        if batch is not None:
            self._scopes[f"batch:{batch[0]}"] = batch[1]
        self._day = day or Limit()
        self._on_change = on_change

    def reserve(self, worst: Callable[[int], Amount], most: int, least: int) -> Reservation:
        """As Ledger.reserve, in all scopes of the run."""
        scopes = {**self._scopes, today(): self._day}
        made = self._ledger.reserve(scopes, worst, most, least)
        self._tell("reserved", made.asked, held_to=made.output if made.output < most else None)
        return made

    def settle(self, reservation: Reservation, actual: Amount) -> None:
        """As Ledger.settle. What costs more than it could is counted in full, and told."""
        self._ledger.settle(reservation, actual)
        asked = reservation.asked
        beyond = actual.tokens > asked.tokens or (actual.nano_usd or 0) > (asked.nano_usd or 0)
        self._tell("settled", actual, beyond=beyond)

    def counted(self, amount: Amount) -> None:
        """Tell of what the ledger has settled for a process that is gone."""
        self._tell("settled", amount)

    def account(self) -> Account:
        """How the run's own account stands."""
        scope = next(iter(self._scopes))
        return self._ledger.accounts({scope: self._scopes[scope]})[scope]

    def waiting(self) -> None:
        """Tell that a request waits for others to be settled."""
        self._tell("waiting", Amount(0, 0))

    def _tell(
        self,
        what: Literal["reserved", "settled", "waiting"],
        amount: Amount,
        *,
        held_to: int | None = None,
        beyond: bool = False,
    ) -> None:
        if self._on_change is not None:
            accounts = self._ledger.accounts({**self._scopes, today(): self._day})
            kinds = {scope.partition(":")[0]: account for scope, account in accounts.items()}
            self._on_change(Change(what, amount, kinds, held_to, beyond))


def today() -> str:
    """The scope of this day (UTC)."""
    return f"day:{datetime.now(UTC):%Y-%m-%d}"
