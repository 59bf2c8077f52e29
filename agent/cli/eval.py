"""`agent eval`: models on cases, and what their differences are worth."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent.cli import batch
from agent.cli.streams import print_result
from agent.errors import UsageError
from agent.text import printable

if TYPE_CHECKING:
    from agent.batch.drive import Result
    from agent.batch.tasks import TaskLine
    from agent.evaluate.answers import Answer
    from agent.evaluate.earlier import Change

EPILOG = """CASES: as TASKS of `agent batch`. What a case's `test_patch` holds is kept from the models, and judges
afterwards whether what was delivered is right. {"case": {"class": NAME}} sorts cases, else the routing does.
DIR gets results.jsonl, summary.json, evaluation.html, recommended.toml with a ladder and routes to adopt, and
predictions-MODEL-REPEAT.jsonl, models by their number, as the graders of SWE-bench and Multi-SWE-bench take them, each
with the ids of the cases; SWE-bench Pro's takes the .json beside it.
Exit codes: 0 evaluated · 1 a model got worse beyond chance (--compare) · 2 usage · 3 no run says anything of a model ·
4 the budget ended it · 130 interrupted; after 4 and 130 --resume goes on."""
MAX_REPEATS = 100


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser(
        "eval",
        help="compare models on cases",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("cases", metavar="CASES", help="a JSONL file or a folder, as for `agent batch`")
    p.add_argument("--out", required=True, metavar="DIR", help="where results and figures go")
    p.add_argument("--model", action="append", required=True, metavar="SPEC", help="may be repeated")
    p.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="runs of each model on each case (default: 1)"
    )
    p.add_argument(
        "--compare", metavar="EARLIER_DIR", help="an earlier evaluation's DIR: say what changed beyond chance"
    )
    batch.add_run_flags(p)
    p.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from agent.evaluate.answers import answers
    from agent.evaluate.arms import task_lines

    if not 1 <= args.repeat <= MAX_REPEATS:
        raise UsageError(f"--repeat must be a number from 1 to {MAX_REPEATS}, not {args.repeat}")
    models = batch.models_of(args)
    if len(set(models)) < len(models):
        raise UsageError("--model: each model once, please; --repeat runs it more often")
    earlier = _earlier(args.compare) if args.compare is not None else None
    lines = task_lines(batch.tasks_of(args, args.cases), models, args.repeat)
    if args.resume:
        _check_same(lines, Path(args.out))
    done = batch.run_tasks(args, lines, evaluate=True)
    order = {line.id: place for place, line in enumerate(lines)}
    found = answers(sorted(done.results, key=lambda result: order[result.id]), args.out)
    left = len(lines) - len(found)
    more = [f"{left} of {len(lines)} runs have no result yet: --resume runs them"] if left else []
    more += [f"budget: {done.paid}"] if done.paid else []
    _predict(Path(args.out), done.results, models)
    worse = write(Path(args.out), found, earlier, more)
    code = (4 if done.spent else 130) if left else int(worse)
    return 3 if not code and not any(one.counts for one in found) else code


def _check_same(lines: Sequence[TaskLine], out: Path) -> None:
    """Results of a case that has changed since would be told as those of the new one."""
    from agent.batch.folder import read_results
    from agent.evaluate.answers import KEY, answers

    digests = {line.case[KEY]["case"]: line.case[KEY]["digest"] for line in lines}
    for one in answers(read_results(out / "results.jsonl"), f"--out {out}"):
        if digests.get(one.case, one.digest) != one.digest:
            raise UsageError(f"--out {out}: case {one.case!r} was another task then; name another folder")


def _predict(out: Path, results: Sequence[Result], models: Sequence[str]) -> None:
    """predictions-MODEL-REPEAT.jsonl, as graders take them: each case once, under its own id. One model that ran once
    has them as predictions.jsonl too; of several a grader would take whichever stands last there."""
    from agent.batch.predictions import prediction_files
    from agent.evaluate.answers import KEY
    from agent.result import write_atomically

    arms: dict[str, list[Result]] = {}
    for result in results:
        task = result.case[KEY]
        stem = f"predictions-{models.index(task['model']) + 1}-{task['repeat']}"
        arms.setdefault(stem, []).append(result)
    if len(arms) == 1:
        arms["predictions"] = list(results)
    for stem, of_arm in arms.items():
        for name, data in prediction_files(of_arm, stem).items():
            write_atomically(out / name, data)


def _earlier(folder: str) -> list[Answer]:
    from agent.batch.folder import read_results
    from agent.evaluate.answers import answers

    path = Path(folder) / "results.jsonl"
    if not path.is_file():
        raise UsageError(f"--compare {folder}: it has no results.jsonl; name a folder of `agent eval --out`")
    return answers(read_results(path), f"--compare {folder}")


def write(out: Path, found: list[Answer], earlier: list[Answer] | None, more: list[str]) -> bool:
    """Write and print what the answers come to; whether a model got worse beyond chance."""
    from dataclasses import asdict

    from agent.evaluate.earlier import changes
    from agent.evaluate.figures import summary
    from agent.evaluate.page import page
    from agent.evaluate.recommend import recommended
    from agent.evaluate.table import changed, names, table
    from agent.result import write_atomically

    told = summary(found)
    since: list[Change] = changes(earlier, found) if earlier is not None else []
    told["changes"] = [{**asdict(one), "worse": one.worse} for one in since]
    lines = [table(told)]
    if earlier is not None:
        lines += ["", *changed(since, names(list(told["models"])))]
    suggested = recommended(found)
    write_atomically(out / "summary.json", json.dumps(told, indent=2).encode() + b"\n")
    write_atomically(out / "recommended.toml", suggested.encode("utf-8", "backslashreplace"))
    html = page(told, found, list(lines[1:]), suggested)
    write_atomically(out / "evaluation.html", html.encode("utf-8", "backslashreplace"))
    lines += ["", *more, f"page: {out / 'evaluation.html'}", f"ladder: {out / 'recommended.toml'}"]
    print_result(printable("\n".join(lines)), 0)
    return any(one.worse for one in since)
