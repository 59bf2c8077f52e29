"""Ten processes that share one budget of 1.00 dollar, with random prices and faults, some killed in mid-request.

    python -m tests.benchmarks.budget [--seeds 1 2 3] [--processes 10] [--requests 1000] [--kills 3]

Each process sends its share of the requests through ProviderModel, with its retries, to an API in the same process
that answers, breaks off or refuses at random. What that API bills, it writes down at the moment at which a request
reaches it: this is the truth that the ledger must never fall short of, also when the process is killed right after.
A process that was killed is replaced by one that does the rest.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio

from agent.budget import Budget, BudgetSpent, Ledger, Limit
from agent.errors import ModelError
from agent.models import provider, spending
from agent.models.catalogue import ModelInfo, Prices
from agent.models.faults import Fault
from agent.models.provider import Answer, ProviderModel, Try
from agent.types import Message, ToolSpec, Usage

DOLLAR = Decimal("1.00")
BATCH = "shared"


@dataclass(frozen=True)
class Outcome:
    """Of one seed. Money in nano-dollars."""

    spent: int
    reserved: int
    billed: int
    """By the API, whatever the ledger says."""
    asked: int
    sent: int
    """Tries that reached the API; a request may need several, or none."""
    refused: int
    killed: int
    seconds: float


class RandomApi:
    """Bills at random, up to what a request allows."""

    def __init__(self, chance: random.Random, info: ModelInfo, note: int) -> None:
        self._chance = chance
        self._info = info
        self._note = note

    def open(self) -> None: ...

    async def close(self) -> None: ...

    def judge(self, error: Exception) -> Fault | None:
        return None

    def request(
        self,
        system: str,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        schema: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        return {"text": messages[0].text, "limit": self._info.max_output}

    def output_limit(self, request: Mapping[str, Any]) -> int | None:
        limit: int = request["limit"]
        return limit

    def limit_output(self, request: Mapping[str, Any], tokens: int) -> dict[str, Any]:
        return {**request, "limit": tokens}

    def billed_besides(self, request: Mapping[str, Any]) -> tuple[int, Decimal]:
        return 0, Decimal(0)

    async def answer(self, request: Mapping[str, Any], seen: Try) -> Answer:
        chance = self._chance
        fate = chance.choice(["whole"] * 6 + ["broken", "lost", "refused"])
        inputs = chance.randint(1, len(request["text"].encode()))
        read, written = sorted(chance.randint(0, inputs) for _ in range(2))
        output = chance.choice([chance.randint(1, request["limit"]), request["limit"]])
        usage = Usage(1, inputs - written, output, read, written - read)
        if fate in ("broken", "lost"):  # what nobody hears the end of is billed in full
            usage = Usage(1, 0, request["limit"], 0, inputs)
        cost = Decimal(0) if fate == "refused" else self._info.cost(usage)
        assert cost is not None
        os.write(self._note, f"bill {cost * 10**9}\n".encode())
        await anyio.sleep(chance.random() * 0.02)
        seen.token()
        if fate == "refused":
            seen.first_token_seconds = None
            raise Fault("overloaded", "HTTP 529", billed=False)
        if fate == "broken":  # the input was told, the rest was not
            seen.usage = Usage(1, usage.input, 1, usage.cache_read, usage.cache_write)
        if fate in ("broken", "lost"):
            raise Fault("broken", "the answer broke off")
        seen.usage = usage
        return Answer("Done.", (), "end")


async def work(home: Path, seed: int, requests: int, usd: Decimal) -> None:
    """One process's share."""
    provider.FIRST_WAIT_SECONDS = 0.001
    spending.WAIT_SECONDS = 0.01
    chance = random.Random(seed)
    note = os.open(home / f"worker-{seed}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with Ledger(home / "ledger.sqlite") as ledger:
        budget = Budget(ledger, str(seed), Limit(), batch=(BATCH, Limit(usd)))
        for _ in range(requests):
            price = Decimal(chance.randint(1, 100)) / 1000
            info = ModelInfo(
                "random",
                "model",
                "chat",
                max_output=chance.choice([500, 4_000, 32_000]),
                prices=Prices(price, 5 * price, price / 10, price * Decimal("1.25")),
                tiers=((3_000, Prices(2 * price, 8 * price, price / 5, price * Decimal("2.5"))),),
            )
            os.write(note, b"asked\n")
            model = ProviderModel("random/model", info, RandomApi(chance, info, note), budget=budget)
            try:
                await model.reply("", [Message("user", "x" * chance.randint(1, 8_000))], ())
            except BudgetSpent:
                os.write(note, b"refused\n")
            except ModelError:
                pass  # its tries are spent; they count


def measure(seed: int, processes: int, requests: int, kills: int, usd: Decimal = DOLLAR) -> Outcome:
    """One budget from full to whatever is left."""
    began, chance, killed = time.monotonic(), random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        running: dict[int, subprocess.Popen[bytes]] = {}
        share: dict[int, int] = {}

        def start(one: int, count: int) -> None:
            share[one] = count
            given = [str(home), str(one), str(count), str(usd)]
            command = [sys.executable, "-m", "tests.benchmarks.budget", "--work", *given]
            running[one] = subprocess.Popen(command)

        def asked(one: int) -> int:
            path = home / f"worker-{one}"
            return path.read_bytes().count(b"asked\n") if path.exists() else 0

        for one in range(processes):
            start(1_000 * seed + one, requests // processes)
        try:
            while running:
                time.sleep(0.02)
                for one, process in list(running.items()):
                    if process.poll() is not None:
                        del running[one]
                        if process.returncode:
                            raise AssertionError(f"worker {one} ended with {process.returncode}")
                    elif killed < kills and asked(one) > share[one] * chance.uniform(0.2, 0.8):
                        process.kill()
                        process.wait()
                        del running[one]
                        killed += 1
                        if left := share[one] - asked(one):
                            start(one + 500, left)
        finally:
            for process in running.values():
                process.kill()
                process.wait()
        notes = [line for path in home.glob("worker-*") for line in path.read_text().splitlines()]
        with Ledger(home / "ledger.sqlite") as ledger:
            [account] = ledger.accounts({f"batch:{BATCH}": Limit(usd)}).values()
        bills = [Decimal(line.removeprefix("bill ")) for line in notes if line.startswith("bill ")]
        return Outcome(
            spent=account.spent.nano_usd or 0,
            reserved=account.reserved.nano_usd or 0,
            billed=int(sum(bills)),
            asked=notes.count("asked"),
            sent=len(bills),
            refused=notes.count("refused"),
            killed=killed,
            seconds=time.monotonic() - began,
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        home, seed, requests, usd = args.work
        anyio.run(work, Path(home), int(seed), int(requests), Decimal(usd))
        return
    print("seed  requests  sent  refused  killed      billed       spent    reserved  seconds")
    for seed in args.seeds:
        one = measure(seed, args.processes, args.requests, args.kills)
        money = "".join(f"{nano / 10**9:12.9f}" for nano in (one.billed, one.spent, one.reserved))
        print(
            f"{seed:4}  {one.asked:8}  {one.sent:4}  {one.refused:7}  {one.killed:6}{money}  {one.seconds:7.1f}"
        )


if __name__ == "__main__":
    main()
