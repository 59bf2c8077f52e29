"""Small projects, each with four places where one line may be wrong, for `compounding`.

The test that shows the fault runs through all four places and asserts three results, each of which is wrong whichever
place is; the other tests pass whichever is. So a model that sees the failure cannot tell the places apart by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.docker.project import git


@dataclass(frozen=True, eq=False)
class Template:
    """A module of right code, and how it goes wrong."""

    entry: str
    """The function of one argument that the failing test calls; the module has its name."""
    code: str
    sites: tuple[tuple[str, str], ...]
    """A right line, as it stands in `code` without its indentation, and the wrong one in its place."""
    calls: tuple[tuple[object, object], ...]
    """Arguments of `entry`, and what it must return for them."""
    tests: str
    """Bodies of tests that pass whichever place is wrong, one a line."""

    @property
    def path(self) -> str:
        return f"{self.entry}.py"

    @property
    def red(self) -> str:
        """The id of the test that shows the fault."""
        return f"tests/test_{self.entry}.py::test_{self.entry}"

    def spoilt(self, *sites: int) -> str:
        """The code with those places wrong."""
        text = self.code
        for site in sites:
            text = text.replace(*self.sites[site])
        return text

    def files(self, site: int) -> dict[str, str]:
        """The project at the base: one place is wrong."""
        asserts = "".join(
            f"    assert {self.entry}({given!r}) == {wanted!r}\n" for given, wanted in self.calls
        )
        others = "".join(
            f"\n\ndef test_part_{number}():\n    assert {line}\n"
            for number, line in enumerate(self.tests.strip().splitlines(), 1)
        )
        test = f"from {self.entry} import *\n\n\ndef test_{self.entry}():\n{asserts}{others}"
        return {self.path: self.spoilt(site), f"tests/test_{self.entry}.py": test, "conftest.py": ""}

    def issue(self) -> str:
        given, wanted = self.calls[0]
        return f"# {self.entry}() gives wrong results\n\n`{self.entry}({given!r})` should give {wanted!r}.\n"


def make(template: Template, site: int, folder: Path) -> Path:
    """A git repository of the project in the new directory `folder`."""
    for name, text in template.files(site).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "base")
    return folder


TEMPLATES = (
    Template(
        "receipt",
        '''\
"""A line of a shop's receipt."""


def parsed(line):
    name, price, count = line.split(",")
    return name.strip(), int(price), int(count)


def amount(price, count):
    return price * count


def money(cents):
    return f"{cents // 100}.{cents % 100:02d}"


def receipt(line):
    name, price, count = parsed(line)
    total = money(amount(price, count))
    return f"{count} x {name}: {total}"
''',
        (
            ("return name.strip(), int(price), int(count)", "return name, int(price), int(count)"),
            ("return price * count", "return price + count"),
            ('return f"{cents // 100}.{cents % 100:02d}"', 'return f"{cents // 100}.{cents % 100}"'),
            ('return f"{count} x {name}: {total}"', 'return f"{name} x {count}: {total}"'),
        ),
        ((" tea,250,2", "2 x tea: 5.00"), ("cup ,101,3", "3 x cup: 3.03"), (" pen ,35,3", "3 x pen: 1.05")),
        """\
parsed("tea,250,2") == ("tea", 250, 2)
amount(2, 2) == 4
money(1234) == "12.34"
""",
    ),
    Template(
        "slug",
        '''\
"""Titles as they stand in addresses."""

SMALL = ("a", "and", "of", "the")


def words(title):
    return title.lower().split()


def plain(word):
    return "".join(sign for sign in word if sign.isalnum())


def telling(found):
    return [word for word in found if word not in SMALL]


def slug(title):
    return "-".join(plain(word) for word in telling(words(title)))
''',
        (
            ("return title.lower().split()", "return title.split()"),
            (
                'return "".join(sign for sign in word if sign.isalnum())',
                'return "".join(sign for sign in word if sign.isalpha())',
            ),
            (
                "return [word for word in found if word not in SMALL]",
                "return [word for word in found if word in SMALL]",
            ),
            (
                'return "-".join(plain(word) for word in telling(words(title)))',
                'return "_".join(plain(word) for word in telling(words(title)))',
            ),
        ),
        (
            ("The 3 Towers!", "3-towers"),
            ("A Room of 2", "room-2"),
            ("Of Mice and 4 Men", "mice-4-men"),
        ),
        """\
words("two men") == ["two", "men"]
plain("men!") == "men"
telling([]) == []
""",
    ),
    Template(
        "span",
        '''\
"""How long something takes, from clock times."""

DAY = 24 * 60


def minutes(clock):
    hours, rest = clock.split(":")
    return int(hours) * 60 + int(rest)


def ends(text):
    first, last = text.split("-")
    return minutes(first), minutes(last)


def length(first, last):
    return (last - first) % DAY


def span(text):
    hours, rest = divmod(length(*ends(text)), 60)
    return f"{hours} h {rest} min"
''',
        (
            ("return int(hours) * 60 + int(rest)", "return int(hours) * 100 + int(rest)"),
            ('first, last = text.split("-")', 'last, first = text.split("-")'),
            ("return (last - first) % DAY", "return (last - first + 1) % DAY"),
            (
                "hours, rest = divmod(length(*ends(text)), 60)",
                "hours, rest = divmod(length(*ends(text)), 24)",
            ),
        ),
        (
            ("9:30-11:05", "1 h 35 min"),
            ("14:00-18:45", "4 h 45 min"),
            ("23:10-1:20", "2 h 10 min"),
        ),
        """\
minutes("0:59") == 59
ends("0:07-0:07") == (7, 7)
length(5, 5) in (0, 1)
""",
    ),
    Template(
        "settle",
        '''\
"""The books of a till, which must add up."""


def settle(entries):
    received = paid = 0
    for kind, cents in entries:
        if kind == "in":
            received += cents
        else:
            paid += cents
    balance = received - paid
    rest = balance
    for kind, cents in entries:
        rest -= cents if kind == "in" else -cents
    if rest:
        raise ValueError(f"the books are out by {rest}")
    return f"received {received}, paid {paid}, left {balance}"
''',
        (
            ('if kind == "in":', 'if kind != "fee":'),
            ("received += cents", "received = cents"),
            ("paid += cents", "paid = cents"),
            ("balance = received - paid", "balance = received + paid"),
        ),
        (
            (
                [("in", 500), ("in", 250), ("out", 120), ("fee", 30), ("fee", 11)],
                "received 750, paid 161, left 589",
            ),
            (
                [("in", 90), ("out", 35), ("in", 70), ("fee", 5), ("fee", 8)],
                "received 160, paid 48, left 112",
            ),
            (
                [("out", 10), ("fee", 7), ("in", 300), ("in", 41), ("fee", 3)],
                "received 341, paid 20, left 321",
            ),
        ),
        """\
settle([]) == "received 0, paid 0, left 0"
settle([("in", 0)]) == "received 0, paid 0, left 0"
""",
    ),
    Template(
        "ranking",
        '''\
"""Who came first."""


def entries(text):
    return [part.split() for part in text.split(",")]


def points(entry):
    return int(entry[1])


def ranked(found):
    return sorted(found, key=points, reverse=True)


def line(place, entry):
    return f"{place}. {entry[0]}"


def ranking(text):
    found = ranked(entries(text))
    return "; ".join(line(place, entry) for place, entry in enumerate(found, 1))
''',
        (
            ("return int(entry[1])", "return entry[1]"),
            ("return sorted(found, key=points, reverse=True)", "return sorted(found, key=points)"),
            ('return f"{place}. {entry[0]}"', 'return f"{place}. {entry[1]}"'),
            (
                'return "; ".join(line(place, entry) for place, entry in enumerate(found, 1))',
                'return "; ".join(line(place, entry) for place, entry in enumerate(found))',
            ),
        ),
        (
            ("ann 9, bob 10, cy 3", "1. bob; 2. ann; 3. cy"),
            ("dee 101, eve 99, flo 5", "1. dee; 2. eve; 3. flo"),
            ("gus 7, hal 64, ida 640", "1. ida; 2. hal; 3. gus"),
        ),
        """\
entries("ann 9, bob 10") == [["ann", "9"], ["bob", "10"]]
ranked([]) == []
line(1, ["7", "7"]) == "1. 7"
""",
    ),
    Template(
        "canonical",
        '''\
"""Query strings in one form."""


def pairs(text):
    return [part.partition("=") for part in text.split("&")]


def clean(text):
    return text.replace("+", " ").strip()


def last_of_each(found):
    values = {}
    for key, _, value in found:
        values[clean(key)] = clean(value)
    return values


def canonical(text):
    values = last_of_each(pairs(text))
    return "; ".join(f"{key}: {values[key]}" for key in sorted(values))
''',
        (
            (
                'return [part.partition("=") for part in text.split("&")]',
                'return [part.partition("=") for part in text.split(";")]',
            ),
            ('return text.replace("+", " ").strip()', "return text.strip()"),
            ("values[clean(key)] = clean(value)", "values.setdefault(clean(key), clean(value))"),
            (
                'return "; ".join(f"{key}: {values[key]}" for key in sorted(values))',
                'return "; ".join(f"{key}: {values[key]}" for key in values)',
            ),
        ),
        (
            ("b=x+y&a=1&a=2", "a: 2; b: x y"),
            ("to=the+end&from=1&from=3", "from: 3; to: the end"),
            ("size=9&size=10&hue=light+red", "hue: light red; size: 10"),
        ),
        """\
pairs("a=1") == [("a", "=", "1")]
clean(" a ") == "a"
last_of_each([]) == {}
""",
    ),
)
