"""Writing to virtual nodes through a real mount, as people and agents type it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import partial

import pytest
from conftest import needs_fuse, wait_for

from mount.conftest import Mount, failing

pytestmark = needs_fuse

FRONT = (
    "---\n# by hand\ntitle: The rule  # of thumb\nimportance: 0.50\ntags: [a]\nmood: calm\n---\n"
)
TEXT = "RSI > 70 → exit\nsecond line\n"
REL = "memory/shared/x.md"


@pytest.fixture
def rule(akashi: Mount) -> Mount:
    """akashi's mount with `x.md` in the shared folder."""
    (akashi.behind / "shared" / "x.md").write_text(FRONT + TEXT)
    return akashi


def behind(mount: Mount) -> str:
    """The memory's bytes in the vault."""
    return (mount.vault / REL).read_bytes().decode()


def meta(mount: Mount) -> dict[str, object]:
    """What `x.md:meta` tells."""
    told: dict[str, object] = json.loads(mount.ask("x.md:meta", "memory/shared"))
    return told


def complains(mount: Mount, line: str) -> str:
    """What bash says of a line that fails."""
    done = subprocess.run(
        ["bash", "-c", line], cwd=mount.home, capture_output=True, check=False, text=True
    )
    assert done.returncode != 0, line
    return done.stderr


# Values


def test_keys_are_set_from_a_shell(rule: Mount) -> None:
    rule.bash(f'echo "importance: 0.9" > M/{REL}:meta')
    assert behind(rule) == FRONT.replace("0.50", "0.9") + TEXT
    # bash itself would write a line at a time.
    lines = "importance: 0.25\nmood:\ndesk: rates\n"
    rule.bash(f"cat > M/{REL}:meta <<'END'\n{lines}END\n")
    expected = FRONT.replace("0.50", "0.25").replace("mood: calm", "desk: rates")
    assert behind(rule) == expected + TEXT
    rule.bash(f"""echo '{{"pinned": true, "desk": null}}' > M/{REL}:meta""")
    assert (meta(rule)["pinned"], meta(rule)["other"]) == (True, {})
    rule.bash(f"cat M/{REL}:meta > told && cat told > M/{REL}:meta")
    told = meta(rule)
    assert told["title"] == "The rule"
    if shutil.which("jq"):
        rule.bash(f"jq '.importance = 0.75' M/{REL}:meta > told && cp told M/{REL}:meta")
        assert meta(rule)["importance"] == 0.75


def test_an_end_is_set_and_read_back_in_one_breath(rule: Mount) -> None:
    assert rule.bash(f"cat M/{REL}:ttl") == "never\n"
    shown = rule.bash(f"echo 30d > M/{REL}:ttl; cat M/{REL}:ttl")
    assert f"expires: {shown}" in behind(rule)
    assert meta(rule)["expires"] == shown.strip()
    assert (
        rule.bash(f"echo 2099-01-01 > M/{REL}:ttl && cat M/{REL}:ttl") == "2099-01-01T00:00:00Z\n"
    )
    assert rule.bash(f"echo never > M/{REL}:ttl; cat M/{REL}:ttl") == "never\n"
    assert behind(rule) == FRONT + TEXT
    rule.bash(f"echo 2020-01-01 > M/{REL}:ttl")
    assert failing((rule / REL).read_bytes) == "ENOENT"
    assert failing((rule / f"{REL}:ttl").read_bytes) == "ENOENT"


def test_tags_and_links_are_set_and_added(rule: Mount) -> None:
    rule.bash(f"echo 'b, c' > M/{REL}:tags")
    assert rule.bash(f"echo d >> M/{REL}:tags; cat M/{REL}:tags") == "b\nc\nd\n"
    assert "tags: [b, c, d]\n" in behind(rule)
    assert rule.bash(f"echo > M/{REL}:tags; cat M/{REL}:tags") == ""
    (rule.shared / "other.md").write_text("other\n")
    rule.bash(f"echo other >> M/{REL}:links; echo nowhere > M/{REL}:links")
    assert rule.bash(f"cat M/{REL}:links") == "/memory/shared/other.md\n"
    assert rule.bash("cat M/memory/shared/other.md:backlinks") == f"/{REL}\n"
    assert "links: [other, nowhere]\n" in behind(rule)


@pytest.mark.parametrize(
    ("node", "value", "said"),
    [
        ("ttl", "bad", "such as 30d"),
        ("ttl", "", "write one line"),
        ("meta", "importance: 7", "give a number from 0.0 to 1.0"),
        ("meta", "size: 7", "is no key of the front matter"),
        ("meta", "{", "no JSON"),
        ("tags", "a[b", "a tag is one word"),
        ("links", "", "no link"),
    ],
)
def test_a_bad_value_fails_in_the_shell_and_the_status_says_why(
    rule: Mount, node: str, value: str, said: str
) -> None:
    assert "refused" not in rule.ask(":status")
    assert "Invalid argument" in complains(rule, f"echo '{value}' > M/{REL}:{node}")
    told = rule.ask(":status").split("refused  1\n")[1]
    assert told.startswith(f"  /{REL}:{node}: ") and said in told
    assert behind(rule) == FRONT + TEXT


def test_a_value_comes_in_one_write(rule: Mount) -> None:
    assert "Invalid argument" in complains(
        rule, f"{{ echo 30d; echo 12h || exit 1; }} > M/{REL}:ttl"
    )
    assert "a value must come in one write" in rule.ask(":status")
    assert "expires: " in behind(rule)


def test_a_token_is_refused(rule: Mount) -> None:
    token = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
    assert "Permission denied" in complains(rule, f"echo {token} > M/{REL}:body")
    assert "Permission denied" in complains(rule, f"echo 'key: {token}' > M/{REL}:meta")
    told = rule.ask(":status")
    assert "refused  2\n" in told and "github-token" in told and token not in told
    assert behind(rule) == FRONT + TEXT


# The body


def test_a_body_of_many_writes(rule: Mount) -> None:
    whole = "".join(f"line {number} → the gap before earnings\n" for number in range(8_000))
    assert len(whole.encode()) > 300_000
    (rule.home / "big").write_text(whole)
    rule.bash(f"cat big > M/{REL}:body && cmp big M/{REL}:body")
    assert behind(rule) == FRONT + whole
    rule.bash(f"dd if=big of=M/{REL}:body bs=7000 status=none && cmp big M/{REL}:body")
    rule.bash(f"cp big M/{REL}:body && cmp big M/{REL}:body")
    assert behind(rule) == FRONT + whole


WRITERS = {
    "echo new > {}": "new\n",
    "echo more >> {}": TEXT + "more\n",
    "{{ echo one; echo two; }} > {}": "one\ntwo\n",
    "{{ echo one; echo two; }} >> {}": TEXT + "one\ntwo\n",
    ": > {}": "",
    "true >> {}": TEXT,
    "truncate -s 3 {}": "RSI",
    "printf NEW | dd of={} conv=notrunc status=none": "NEW" + TEXT[3:],
    "echo new | tee {}": "new\n",
    "echo new | tee -a {}": TEXT + "new\n",
    "printf '%s\\n' ---  'title: no' --- text > {}": "---\ntitle: no\n---\ntext\n",
    "python3 -c 'open(\"{}\", \"w\").write(\"new\")'": "new",
    "python3 -c 'f = open(\"{}\", \"r+\"); t = f.read(); f.seek(0); f.write(t.upper())'":
        TEXT.upper(),
    "perl -e 'open F, \">>\", \"{}\"; print F \"new\\n\"'": TEXT + "new\n",
    "rsync --inplace new {}": "new file\n",
    "vim -N -u NONE -i NONE -n -es -c 'set nobackup nowritebackup' -c '%s/RSI/VIX/' -c wq {}":
        TEXT.replace("RSI", "VIX"),
    "sed s/RSI/VIX/ {0} > out && cat out > {0}": TEXT.replace("RSI", "VIX"),
}  # fmt: skip


@pytest.mark.parametrize("line", WRITERS)
def test_any_program_writes_a_body(rule: Mount, line: str) -> None:
    program = line.split(maxsplit=1)[0]
    if shutil.which(program) is None and program not in ("{{", ":"):
        pytest.skip(f"no {program}")
    (rule.home / "new").write_text("new file\n")
    rule.bash(line.format(f"M/{REL}:body"))
    if line == ": > {}":  # emptied when the mount hears of the close, which has returned
        wait_for(lambda: behind(rule) == FRONT, "the emptied body")
    assert rule.ask("x.md:body", "memory/shared") == WRITERS[line]
    assert behind(rule) == FRONT + WRITERS[line]
    assert sorted(os.listdir(rule.shared)) == [".gitkeep", "x.md"]


def test_who_replaces_a_node_by_a_new_file_is_told(rule: Mount) -> None:
    """`sed -i` writes a new file and renames it: that would make a file of the node's name."""
    assert complains(rule, f"sed -i s/RSI/VIX/ M/{REL}:body")
    assert behind(rule) == FRONT + TEXT
    left = [name for name in os.listdir(rule.shared) if not name.startswith("sed")]
    assert sorted(left) == [".gitkeep", "x.md"]


def test_python_writes_and_reads_back(rule: Mount) -> None:
    node = rule / f"{REL}:body"
    assert node.write_text("new → text\n") == 11
    assert node.read_text() == "new → text\n"
    with node.open("a") as file:
        file.write("one\n")
        file.flush()
        assert behind(rule).endswith("new → text\none\n"), "before it is closed"
        file.write("two\n")
    assert node.read_text() == "new → text\none\ntwo\n"
    assert (rule / REL).read_text() == FRONT + "new → text\none\ntwo\n"
    (rule / f"{REL}:ttl").write_text("12h")
    assert "expires: " in behind(rule)
    assert failing(partial((rule / f"{REL}:ttl").write_text, "bad")) == "EINVAL"


def test_the_commit_is_by_who_wrote(rule: Mount) -> None:
    rule.bash(f"echo 'importance: 0.9' > M/{REL}:meta")
    rule.wait_committed("shared/x.md", "akashi")
    rule.bash(f"echo new > M/{REL}:body")
    rule.wait_committed("shared/x.md", "akashi")


def test_every_node_of_a_file_without_front_matter(rule: Mount) -> None:
    (rule.shared / "plain.md").write_text("plain\n")
    node = "M/memory/shared/plain.md"
    rule.bash(
        f"echo 'importance: 0.9' > {node}:meta && echo t >> {node}:tags && echo n > {node}:body"
    )
    plain = (rule.behind / "shared" / "plain.md").read_text()
    assert plain == "---\nimportance: 0.9\ntags: [t]\n---\nn\n"


def test_nobody_makes_a_memory_by_writing_to_its_node(rule: Mount) -> None:
    for node in ("meta", "tags", "ttl", "body", "links"):
        assert "Invalid argument" in complains(rule, f"echo x > M/memory/shared/nosuch.md:{node}")
    assert sorted(os.listdir(rule.shared)) == [".gitkeep", "x.md"]


# News


def test_news_are_told_once(rule: Mount) -> None:
    told = f"+ /{REL}  The rule\n"
    assert (
        rule.bash("cat M/:delta?peek=1 M/:delta:peek=1; head -c 5 M/:delta")
        == told + told + told[:5]
    )
    assert rule.bash("stat M/:delta > /dev/null; wc -c < M/:delta").strip() == str(len(told))
    assert rule.bash("cat M/:delta") == told
    rule.bash(f"echo new > M/{REL}:body")
    assert rule.bash("cat M/:delta") == f"~ /{REL}  The rule\n"
    assert rule.bash("cat M/:delta").startswith("Nothing new since ")
    assert rule.bash(f"tail -n 1 M/{REL}:delta") == "+new\n"
    assert rule.bash(f"cat M/{REL}:delta").startswith("Nothing new since ")
    rule.bash("cat M/memory/private/akashi/:delta | grep -q 'Nothing new yet'")
    rule.bash(f"rm M/{REL}")
    assert rule.bash("cat M/:delta M/memory/shared/:delta") == f"- /{REL}\n" + "Nothing new yet.\n"


def test_help_of_a_file_names_it(rule: Mount) -> None:
    told = rule.bash(f"cat M/{REL}:help")
    assert "cat 'x.md:ttl'" in told
    assert "write: a duration from now on" in told
    assert rule.bash("cat M/:conflicts") == "No conflicts.\n"
