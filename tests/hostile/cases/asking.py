"""Runs asked for by those who may not, or by what only looks like a label of somebody who may."""

from tests.actions.runner import Job
from tests.hostile.corpus import Cases
from tests.hostile.world import NUMBER, World
from tests.loopback.github_state import User

case = Cases("who asked")
ALLOWED = {"authorize": {"allowed_bots": "my-fixer[bot]"}}


def refused(world: World, event, why: str, event_name: str = "issues", **more) -> Job:
    job, issues = world.asked(event, event_name, **more)
    assert (job.result, issues) == ("failure", []), job.log
    assert why in job.errors, job.errors
    return job


def begun(world: World) -> World:
    world.project()
    world.issue()
    return world


@case("a label by a maintainer (a control)", "let through")
def maintainer(world: World) -> None:
    job, issues = begun(world).asked(world.labelled())
    assert job.result == "success", job.log
    assert issues == [{"number": NUMBER, "as_of": "2026-03-01T10:00:00Z"}]
    assert job.outputs["default_branch"] == "main"


@case("a label by a stranger", "refused")
def stranger(world: World) -> None:
    world.project()
    world.state.issue(NUMBER, "t", "b")
    world.label(by="stranger")
    refused(world, world.labelled(by="stranger"), "stranger may not start a run: it takes write access")


@case("a label by somebody who may only triage", "refused")
def triager(world: World) -> None:
    world.project()
    world.state.issue(NUMBER, "t", "b")
    world.label(by="triager")
    refused(world, world.labelled(by="triager"), "triager may not start a run")


@case("a label by somebody whose access was taken since", "refused")
def former(world: World) -> None:
    begun(world).state.roles["maintainer"] = "none"
    refused(world, world.labelled(), "maintainer may not start a run")


@case("a label by a bot that nobody allowed", "refused")
def bot(world: World) -> None:
    begun(world).label(by="other-app[bot]")
    refused(
        world,
        world.labelled(by="other-app[bot]"),
        "is a bot that allowed_bots does not name",
        replaced=ALLOWED,
    )


@case("a label by a bot that the workflow allows (a control)", "let through")
def allowed_bot(world: World) -> None:
    begun(world).label(by="my-fixer[bot]")
    job, issues = world.asked(world.labelled(by="my-fixer[bot]"), replaced=ALLOWED)
    assert job.result == "success" and len(issues) == 1, job.log


@case("a label by a person who took the name of an allowed bot", "refused")
def named_as_a_bot(world: World) -> None:
    begun(world).label(by="my-fixer")
    refused(world, world.labelled(by="my-fixer"), "my-fixer may not start a run", replaced=ALLOWED)


@case("a label by a bot whose name is a person's", "refused")
def bot_without_a_mark(world: World) -> None:
    begun(world).state.users["x"] = User("maintainer", "Bot")
    refused(world, world.labelled(), "maintainer is a bot")


@case("an event that names a maintainer for a stranger's label", "refused")
def other_sender(world: World) -> None:
    begun(world).label(by="stranger")
    refused(world, world.labelled(by="maintainer"), "stranger has put the label since")


@case("an event for a label that nobody has put", "refused")
def no_record(world: World) -> None:
    world.project()
    world.state.issue(NUMBER, "t", "b", labels=["assay"])
    refused(world, world.labelled(), "nobody is on record")


@case("another label, named much like ours", "no run")
def lookalike(world: World) -> None:
    begun(world)
    for label in ("assay-please", "\u0430ssay", "assay\u200b", "assay ", "${{ env.LABEL }}"):
        job, issues = world.asked(world.labelled(label=label))
        assert (job.result, issues) == ("success", []), label


@case("a label that was taken off since", "refused")
def taken_off(world: World) -> None:
    begun(world).label(off=True)
    refused(world, world.labelled(), "no label 'assay' any more")


@case("a label on an issue that was closed since", "refused")
def closed(world: World) -> None:
    begun(world).state.issues[NUMBER].state = "closed"
    refused(world, world.labelled(), "is not open")


@case("a label on a pull request", "refused")
def pull(world: World) -> None:
    begun(world).state.issues[NUMBER].is_pull = True
    refused(world, world.labelled(), "is a pull request")


@case("a login that leads to another path of the API", "refused")
def path_in_login(world: World) -> None:
    event = begun(world).labelled()
    for login in ("../../../orgs/octo", "maintainer/permission?x=", "maintainer%2f..", None):
        refused(world, {**event, "sender": {"login": login, "type": "User"}}, "nobody is named")
    assert not any("permission" in call for call in world.github.calls)


@case("a login that writes outputs and commands", "refused")
def output_in_login(world: World) -> None:
    event = begun(world).labelled()
    login = 'maintainer\nissues=[{"number": 1}]\n::set-output name=issues::[{"number": 1}]'
    refused(world, {**event, "sender": {"login": login, "type": "User"}}, "nobody is named")


@case("an issue's number with a shell in it", "refused")
def shell_number(world: World) -> None:
    event = begun(world).labelled()
    shells = (f"{NUMBER}; touch {world.canary}", f"$(touch {world.canary})")
    for number in (*shells, -1, "１２", [NUMBER]):
        refused(world, {**event, "issue": {"number": number}}, "must be a number")


@case("a number by hand with a shell in it", "refused")
def shell_by_hand(world: World) -> None:
    event = begun(world).event(sender=world.state.user("maintainer"))
    for number in (
        f"12 && touch {world.canary}",
        f"`touch {world.canary}`",
        "12\n13",
        "../issues/12",
        "12?x=1",
    ):
        refused(world, event, "must be a number", "workflow_dispatch", inputs={"issue_number": number})


@case("a run by hand of somebody who may not write", "refused")
def dispatch_by_a_stranger(world: World) -> None:
    event = begun(world).event(sender=world.state.user("stranger"))
    refused(world, event, "stranger may not start a run", "workflow_dispatch", inputs={"issue_number": "12"})


@case("an event that brings a stranger's code", "refused")
def other_event(world: World) -> None:
    begun(world)
    for name in ("pull_request_target", "pull_request", "workflow_run"):
        refused(world, world.labelled(), "by a label, by hand or by a schedule", name)


@case("a comment that says /assay, or the label's name", "no run")
def comment(world: World) -> None:
    begun(world).state.comment(NUMBER, "stranger", "/assay fix this\n\nassay")
    refused(world, world.labelled(action="created"), "by a label", "issue_comment")
    job, issues = world.asked(world.labelled(action="unlabeled"))
    assert (job.result, issues) == ("success", [])


@case("while GitHub refuses to say who may write", "refused")
def unanswered(world: World) -> None:
    begun(world).state.private = True
    world.reads = False
    refused(world, world.labelled(), "GitHub could not be asked")


@case("while GitHub's limit for the hour is used up", "refused")
def limited(world: World) -> None:
    begun(world).github.remaining = 2
    refused(world, world.labelled(), "GitHub could not be asked")


@case(
    "a schedule, with labels by a stranger, by a bot and on a closed issue among the others",
    "only those who may",
)
def schedule(world: World) -> None:
    begun(world)
    for number, by in ((21, "stranger"), (22, "maintainer"), (23, "other-app[bot]"), (24, "owner")):
        world.state.issue(number, "t", "b")
        world.state.labelled(number, "assay", by)
    world.state.issue(25, "t", "b", state="closed")
    world.state.labelled(25, "assay", "maintainer")
    world.state.issue(26, "t", "b", is_pull=True)
    world.state.labelled(26, "assay", "maintainer")
    job, issues = world.asked({}, "schedule")
    assert job.result == "success", job.log
    assert [one["number"] for one in issues] == [24, 22, NUMBER]


@case("a schedule with hundreds of labelled issues", "five of them")
def many(world: World) -> None:
    begun(world)
    for number in range(100, 240):
        world.state.issue(number, "t", "b")
        world.state.labelled(number, "assay", "stranger" if number % 2 else "maintainer")
    job, issues = world.asked({}, "schedule")
    assert job.result == "success", job.log
    assert [one["number"] for one in issues] == [238, 236, 234, 232, 230]
