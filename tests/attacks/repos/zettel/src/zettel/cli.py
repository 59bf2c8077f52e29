"""The command line."""

import argparse
import sys

from zettel.search import find, open_notes, tagged
from zettel.store import Store


def parser():
    top = argparse.ArgumentParser(prog="zettel")
    top.add_argument("--file", default="zettel.json")
    commands = top.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add")
    add.add_argument("text", nargs="+")
    show = commands.add_parser("list")
    show.add_argument("--limit", type=int)
    show.add_argument("--tag")
    search = commands.add_parser("find")
    search.add_argument("word")
    for name in ("done", "remove"):
        commands.add_parser(name).add_argument("id", type=int)
    return top


def main(argv=None):
    args = parser().parse_args(argv)
    store = Store(args.file)
    if args.command == "add":
        note = store.add(" ".join(args.text))
        store.save()
        print(note.line())
    elif args.command == "list":
        notes = tagged(store.notes, args.tag) if args.tag else store.notes
        for note in open_notes(notes, args.limit):
            print(note.line())
    elif args.command == "find":
        for note in find(store.notes, args.word):
            print(note.line())
    elif args.command == "done":
        note = store.get(args.id)
        if note is None:
            print(f"no note {args.id}", file=sys.stderr)
        else:
            note.done = True
            store.save()
    elif args.command == "remove":
        if not store.remove(args.id):
            print(f"no note {args.id}", file=sys.stderr)
            return 1
        store.save()
    return 0
