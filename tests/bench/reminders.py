"""How often a prompt is told something: `python tests/bench/reminders.py LOCOMO.json`.

Three kinds of prompts on vaults of one conversation each: questions that it answers, questions
about other people's conversations, and what people type to coding agents all day. Told should be
the first, and neither of the others; with embeddings and without.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from avm import AVM
from avm.bench import locomo
from avm.bench.conversation_vault import LAYOUTS, keep

CONVERSATIONS, QUESTIONS, TOKENS = 3, 100, 500
EVERYDAY = """\
fix the failing test
yes, go on
commit this
what does this function do?
please refactor the parser into two modules
why is the build red?
add a unit test for the new flag
run the linter and fix what it says
can you explain how the cache works
update the README with the new option
rename the variable to something clearer
make it faster
the server returns 500 when the body is empty, find out why
bump the version and write the changelog
revert the last change
open a pull request
continue
thanks, looks good
write a SQL migration that adds a column created_at to users
how do I run the tests of a single file?
there's a race in the worker pool, look at the logs and tell me what you think
please review this diff
convert this callback code to async/await
use type hints everywhere
the docker image is 2 GB, make it smaller
what is the difference between these two branches?
I get ModuleNotFoundError: No module named 'requests'
implement pagination for the list endpoint
where is the config file read?
delete the unused imports
""".splitlines()


def main() -> None:
    """Print a line for each layout, each kind of ranking."""
    parser = argparse.ArgumentParser(description=__doc__, usage="%(prog)s LOCOMO.json")
    parser.add_argument("data", type=Path)
    conversations = locomo.read(parser.parse_args().data)
    print(f"share of prompts that are told something, {CONVERSATIONS} conversations")
    with tempfile.TemporaryDirectory() as folder:
        for layout in LAYOUTS:
            for semantic in ("wait", "off"):
                told: dict[str, list[bool]] = {}
                for number in range(CONVERSATIONS):
                    one, other = conversations[number], conversations[number - 2]
                    root = keep(one, layout, Path(folder, f"{layout}-{one.id}")).root
                    prompts = {
                        "answered": [q.text for q in one.answerable[:QUESTIONS]],
                        "others'": [q.text for q in other.answerable[:QUESTIONS]],
                        "everyday": EVERYDAY,
                    }
                    with AVM(root, semantic=semantic) as avm:
                        avm.index(wait=semantic == "wait")
                        for kind, texts in prompts.items():
                            answers = [avm.reminder(text, TOKENS) for text in texts]
                            told.setdefault(kind, []).extend(a is not None for a in answers)
                shares = ", ".join(f"{kind} {sum(x) / len(x):.2f}" for kind, x in told.items())
                print(f"{layout:9} {'vectors' if semantic == 'wait' else 'text':8} {shares}")


if __name__ == "__main__":
    main()
