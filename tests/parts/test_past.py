"""The past over real repositories: log, show, diff, blame, whole trees, and who may see what."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import git

from avm import AVM
from avm.base.errors import NotFoundError, UsageError
from avm.overlay import virtual
from avm.vault import history
from avm.vault.init import adopt
from avm.vault.location import open_vault
from avm.vault.past import PastTrees
from avm.vault.revisions import Revisions

AKASHI, HERMES, SHARED = "memory/private/akashi", "memory/private/hermes", "memory/shared"
LINES = "".join(f"line {n}\n" for n in range(10))


class Repository:
    """A vault whose commits are made with git, each at a day of November 2026, at noon UTC."""

    def __init__(self, root: Path) -> None:
        self.avm = AVM(root, semantic="off")
        self.root = root

    def write(self, rel: str, text: str) -> None:
        """Write a file."""
        place = self.root / rel
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def commit(self, day: int, subject: str, agent: str | None = None) -> str:
        """Commit everything; returns the hash."""
        git(self.root, "add", "--all")
        return self.record(day, "commit", "--quiet", "--allow-empty", "-m", subject, agent=agent)

    def record(self, day: int, *args: str, agent: str | None = None) -> str:
        """Run a git command that commits, on that day and for that agent; returns HEAD."""
        moment = f"2026-11-{day:02}T12:00:00Z"
        env = {**os.environ, "GIT_COMMITTER_DATE": moment, "GIT_AUTHOR_DATE": moment}
        if agent:
            env |= {"GIT_AUTHOR_NAME": agent, "GIT_AUTHOR_EMAIL": f"{agent}@agents.avm.invalid"}
        subprocess.run(["git", *args], cwd=self.root, env=env, check=True, capture_output=True)
        return git(self.root, "rev-parse", "HEAD")

    def put(self, day: int, rel: str, text: str, agent: str | None = None) -> str:
        """Write one file and commit it."""
        self.write(rel, text)
        return self.commit(day, f"edit: {rel}", agent)


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    """A new vault, whose first commit is of 1 November."""
    made = Repository(tmp_path / "vault")
    made.record(1, "commit", "--quiet", "--amend", "--no-edit", "--date=2026-11-01T12:00:00Z")
    yield made
    made.avm.close()


def hashes(commits: list) -> list[str]:  # type: ignore[type-arg]
    """The ids of commits."""
    return [commit.hash for commit in commits]


# Revisions


def test_revisions(repo: Repository) -> None:
    first = git(repo.root, "rev-parse", "HEAD")
    second = repo.put(3, f"{SHARED}/x.md", "two")
    third = repo.put(5, f"{SHARED}/x.md", "three")
    git(repo.root, "tag", "yesterday", first)
    git(repo.root, "tag", "2026-11-03", first)
    git(repo.root, "tag", second[:6], first)
    git(repo.root, "branch", "side", second)
    find = Revisions(open_vault(repo.root)).find
    noon = 1_793_880_000.0  # 2026-11-05T12:00:00Z
    for rev, commit in {
        "HEAD": third, "~0": third, "~1": second, "HEAD~1": second, "~2": first, "HEAD^": second,
        third: third, third[:4]: third, third[:7].upper(): third, f"{third[:8]}~1": second,
        second[:6]: second, "2026-11-05": third, "2026-11-04": second, "2026-11-03": second,
        "2026-11-03T11:59:59": first, "2026-11-03T12:00": second, "2026-11-03T14:00+02:00": second,
        "now": third, "yesterday": second, "36h": second, "4d": first, "2026-11-02": first,
    }.items():  # fmt: skip
        assert find(rev, now=noon, any_name=False) == commit, rev
        assert find(rev, now=noon, any_name=True) == commit, rev
    for rev in ("side", "tags/yesterday", "refs/heads/side", "main"):
        assert find(rev, now=noon, any_name=True) in (first, second, third)
    for rev in ("side", "main", "refs/heads/side", "tags/yesterday", "@", "main@{0}"):
        with pytest.raises(NotFoundError, match="no such revision"):
            find(rev, now=noon, any_name=False)
    tree = git(repo.root, "rev-parse", "HEAD^{tree}")
    for rev in (
        "~9",
        "",
        "--all",
        "-1",
        "nope",
        "a\0b",
        "a b",
        "HEAD:memory",
        tree,
        tree[:9],
        "0" * 40,
    ):
        with pytest.raises(NotFoundError, match="no such revision"):
            find(rev, now=noon, any_name=True)
    for rev in ("2026-10-01", "1960-01-01", "100y"):
        with pytest.raises(NotFoundError, match="nothing was committed yet"):
            find(rev, now=noon, any_name=True)


def test_an_agent_names_only_what_head_has_grown_from(repo: Repository) -> None:
    base = git(repo.root, "rev-parse", "HEAD")
    repo.record(2, "checkout", "--quiet", "-b", "side")
    aside = repo.put(3, f"{SHARED}/aside.md", "aside")
    repo.record(4, "checkout", "--quiet", "main")
    repo.put(5, f"{SHARED}/x.md", "x")
    akashi = repo.avm.agent_memory("akashi")
    assert repo.avm.show(f"{SHARED}/x.md", "HEAD") == b"x"
    assert dict(repo.avm.tree_at(aside).list(SHARED))["aside.md"].is_file
    for rev in (aside, aside[:8], "side"):
        with pytest.raises(NotFoundError, match="no such revision"):
            akashi.tree_at(rev)
    assert "aside.md" not in akashi.tree_at(base[:8]).list(SHARED)


def test_several_commits_of_one_beginning(repo: Repository) -> None:
    """Objects of a kind are told apart; two commits are not."""
    by_start: dict[str, str] = {}
    for number in range(1200):
        data = f"tree {'4b825dc642cb6eb9a060e54bf8d69288fbee4904'}\nauthor a <a> {number} +0000\n"
        data += f"committer a <a> {number} +0000\n\nx\n"
        args = ["git", "hash-object", "-t", "commit", "--stdin"]
        raw = data.encode()
        oid = hashlib.sha1(b"commit %d\0" % len(raw) + raw).hexdigest()
        if oid[:4] in by_start:
            for text in (by_start[oid[:4]], data):
                subprocess.run([*args, "-w"], cwd=repo.root, input=text.encode(), check=True)
            break
        by_start[oid[:4]] = data
    find = Revisions(open_vault(repo.root)).find
    with pytest.raises(UsageError, match="2 commits begin with"):
        find(oid[:4], now=0, any_name=True)
    with pytest.raises(NotFoundError, match="no such revision"):
        find(oid[:4], now=0, any_name=False)


def test_what_was_found_follows_head(repo: Repository) -> None:
    find = Revisions(open_vault(repo.root)).find
    one = find("HEAD", now=0, any_name=True)
    two = repo.put(2, f"{SHARED}/x.md", "x")
    assert find("HEAD", now=0, any_name=True) == two != one
    assert find("~1", now=0, any_name=True) == one


# One file


def test_a_file_is_followed_through_its_names(repo: Repository) -> None:
    made = repo.put(2, f"{SHARED}/a.md", LINES)
    edited = repo.put(3, f"{SHARED}/a.md", LINES + "more\n")
    git(repo.root, "mv", f"{SHARED}/a.md", f"{SHARED}/b.md")
    moved = repo.put(4, f"{SHARED}/b.md", LINES + "moved and edited\n")
    repo.put(5, f"{SHARED}/other.md", "other")
    (repo.root / SHARED / "deep").mkdir()
    git(repo.root, "mv", f"{SHARED}/b.md", f"{SHARED}/deep/c.md")
    again = repo.commit(6, "move again")
    last = repo.put(7, f"{SHARED}/deep/c.md", LINES + "last\n", "akashi")
    name, avm = f"{SHARED}/deep/c.md", repo.avm
    found = avm.log(name)
    assert hashes(found) == [last, again, moved, edited, made]
    assert [commit.path for commit in found] == [
        f"/{name}", f"/{name}", f"/{SHARED}/b.md", f"/{SHARED}/a.md", f"/{SHARED}/a.md",
    ]  # fmt: skip
    assert (found[0].author, found[0].agent, found[1].agent) == ("akashi", "akashi", None)
    assert found[0].when.isoformat() == "2026-11-07T12:00:00+00:00"
    assert found[1].paths == {f"/{SHARED}/b.md": "deleted", f"/{name}": "added"}
    assert hashes(avm.log(name, limit=3)) == [last, again, moved]
    assert hashes(avm.log(name, since="2026-11-04")) == [last, again, moved]
    assert hashes(avm.log(name, agent="akashi")) == [last]
    assert avm.log(name, agent="hermes") == []
    for rev, text in {last: "last\n", "2026-11-04": "moved and edited\n", edited: "more\n"}.items():
        assert avm.show(name, rev) == (LINES + text).encode(), rev
    assert avm.show(name, made) == LINES.encode()
    assert avm.show(name) == (LINES + "last\n").encode()
    assert avm.show(f"{SHARED}/a.md", made) == LINES.encode()
    with pytest.raises(NotFoundError, match="was not there at"):
        avm.show(name, "2026-11-01")
    blamed = avm.blame(name)
    assert [line.hash for line in blamed] == [made] * 10 + [last]
    assert (blamed[10].text, blamed[10].agent, blamed[10].line) == ("last", "akashi", 11)


def test_a_name_that_was_deleted_and_given_again(repo: Repository) -> None:
    name = f"{SHARED}/x.md"
    first = repo.put(2, name, "the first life\n")
    (repo.root / name).unlink()
    gone = repo.commit(3, "gone")
    second = repo.put(4, name, "quite another text\n")
    assert hashes(repo.avm.log(name)) == [second, gone, first]
    assert repo.avm.show(name, "2026-11-02") == b"the first life\n"
    with pytest.raises(NotFoundError):
        repo.avm.show(name, "2026-11-03")


def test_a_name_taken_over_by_another_file_is_that_file_s(repo: Repository) -> None:
    """The file's own life is followed, not its name's."""
    name, other = f"{SHARED}/x.md", f"{SHARED}/y.md"
    repo.put(2, name, "the first life\n")
    (repo.root / name).unlink()
    begun = repo.put(3, other, LINES)
    git(repo.root, "mv", other, name)
    moved = repo.commit(4, "move")
    assert hashes(repo.avm.log(name)) == [moved, begun]
    assert repo.avm.show(name, "2026-11-03") == LINES.encode()


def test_a_file_that_is_gone_and_one_that_has_expired(repo: Repository) -> None:
    old = "---\nexpires: 2020-01-01\n---\ngone by\n"
    repo.put(2, f"{SHARED}/expired.md", old)
    repo.put(2, f"{SHARED}/gone.md", "was here\n")
    (repo.root / SHARED / "gone.md").unlink()
    gone = repo.commit(3, "forget: gone")
    avm = repo.avm
    assert not avm.exists(f"{SHARED}/expired.md")
    assert avm.show(f"{SHARED}/expired.md", "HEAD") == old.encode()
    assert avm.show(f"{SHARED}/gone.md") == b"was here\n"
    assert avm.show(f"{SHARED}/gone.md", "~1") == b"was here\n"
    assert avm.blame(f"{SHARED}/gone.md")[0].text == "was here"
    assert avm.diff(f"{SHARED}/gone.md").splitlines()[2:] == ["@@ -1 +0,0 @@", "-was here"]
    assert avm.log(f"{SHARED}/gone.md")[0].hash == gone
    for node in ("expired.md:history", "gone.md:history", "gone.md:at:~1", "expired.md:diff"):
        assert virtual.read(avm, f"{SHARED}/{node}")
    for node in ("never.md:history", "never.md:diff", "never.md:at:~1", "gone.md:meta"):
        with pytest.raises(NotFoundError, match="no memory at"):
            virtual.read(avm, f"{SHARED}/{node}")
    for ask in (avm.log, avm.show, avm.diff, avm.blame, avm.history):
        with pytest.raises(NotFoundError, match=r"no memory at /memory/shared/never\.md"):
            ask(f"{SHARED}/never.md")


def test_differences(repo: Repository) -> None:
    name, avm = f"{SHARED}/x.md", repo.avm
    repo.write(name, "new\n")
    assert avm.diff(name) == f"--- /dev/null\n+++ b/{name}\tnow\n@@ -0,0 +1 @@\n+new\n"
    assert avm.log(name) == [] and avm.blame(name)[0].hash is None
    one = repo.put(2, name, LINES)
    committed = avm.diff(name).splitlines()
    assert committed[:2] == ["--- /dev/null", f"+++ b/{name}\t{one[:7]} 2026-11-02T12:00:00Z"]
    two = repo.put(3, name, LINES.replace("line 3", "line three"))
    text = avm.diff(name)
    assert text.splitlines()[:2] == [
        f"--- a/{name}\t{one[:7]} 2026-11-02T12:00:00Z",
        f"+++ b/{name}\t{two[:7]} 2026-11-03T12:00:00Z",
    ]
    assert "-line 3\n+line three\n" in text
    assert avm.diff(name, one, two) == text
    assert avm.diff(name, two, two) == "" and avm.diff(name, "HEAD") == ""
    repo.write(name, LINES)
    assert "-line three\n+line 3\n" in avm.diff(name)
    assert avm.diff(name, one) == ""
    assert [line.hash for line in avm.blame(name)].count(None) == 1
    git(repo.root, "checkout", "--quiet", "--", name)
    git(repo.root, "mv", name, f"{SHARED}/moved.md")
    repo.commit(4, "move")
    moved = f"{SHARED}/moved.md"
    assert avm.diff(moved) == ""  # moved unchanged
    repo.put(5, moved, LINES)
    assert avm.diff(moved, one) == ""
    assert f"--- a/{name}\t{two[:7]} " in avm.diff(moved, two)
    (repo.root / moved).unlink()
    assert "+++ /dev/null\n@@ -1,10 +0,0 @@\n" in avm.diff(moved)
    repo.write(moved, "a\0b")
    assert avm.diff(moved).startswith("Binary files a/") and avm.diff(moved).endswith(" differ\n")


def test_no_filter_driver_or_setting_changes_what_is_said(repo: Repository) -> None:
    name = f"{SHARED}/x.md"
    repo.put(2, name, "one\n")
    repo.write(".gitattributes", "*.md diff=evil\n")
    repo.put(3, name, "two\n")
    plain = repo.avm.diff(name), repo.avm.log(name), repo.avm.blame(name)
    marker, ignored = repo.root.parent / "ran", repo.root.parent / "ignored"
    ignored.write_text(git(repo.root, "rev-parse", "HEAD") + "\n")
    for key, value in {
        "diff.evil.command": f"touch {marker}", "diff.evil.textconv": f"touch {marker};cat",
        "color.ui": "always", "log.showSignature": "true", "log.follow": "true",
        "diff.external": f"touch {marker}", "diff.noprefix": "true", "diff.renames": "copies",
        "log.diffMerges": "combined", "i18n.logOutputEncoding": "latin1", "diff.context": "0",
        "blame.ignoreRevsFile": str(ignored), "format.pretty": "raw", "log.date": "relative",
    }.items():  # fmt: skip
        git(repo.root, "config", key, value)
    assert (repo.avm.diff(name), repo.avm.log(name), repo.avm.blame(name)) == plain
    assert not marker.exists()


def test_no_mailmap_makes_a_commit_an_agent_s(repo: Repository) -> None:
    """It is a file in the vault, so it can come with a pull."""
    rel = f"{SHARED}/x.md"
    mine = repo.put(3, rel, "one\n")
    its = repo.put(4, rel, "one\ntwo\n", "akashi")
    repo.write(".mailmap", "akashi <akashi@agents.avm.invalid> <pat@example.org>\n")
    assert hashes(repo.avm.log(rel, agent="akashi")) == [its]
    assert hashes(repo.avm.log(agent="akashi")) == [its]
    assert [(line.agent, line.hash) for line in repo.avm.blame(rel)] == [
        (None, mine),
        ("akashi", its),
    ]
    undone = repo.avm.agent_memory("akashi").undo(since=timedelta(days=365), dry_run=True)
    assert undone.commits == (its,)


def test_the_first_commit_is_told_whatever_is_set(repo: Repository) -> None:
    git(repo.root, "config", "log.showRoot", "false")
    assert "/.avm/format" in repo.avm.log()[-1].paths
    assert len(repo.avm.log(".avm/format")) == 1


def test_odd_names_are_names(repo: Repository) -> None:
    for name in ("*.md", ":(top)x.md", "-rf.md", 'a\tb "c".md', "日本 ü.md", "at@home.md"):
        rel = f"{SHARED}/{name}"
        one = repo.put(2, rel, f"{name} one\n")
        two = repo.put(3, rel, f"{name} two\n")
        assert hashes(repo.avm.log(rel)) == [two, one], name
        assert repo.avm.show(rel, one).decode() == f"{name} one\n"
        assert f"+{name} two\n" in repo.avm.diff(rel)
        assert [line.hash for line in repo.avm.blame(rel)] == [two]


def test_a_subject_cannot_move_the_cursor(repo: Repository) -> None:
    repo.write(f"{SHARED}/x.md", "x")
    repo.commit(2, "evil \x1b[2J \x01 subject")
    (newest, *_) = repo.avm.log()
    assert newest.subject == "evil ?[2J ? subject"


# All


def test_the_log_of_all_of_a_folder_and_of_a_merge(repo: Repository) -> None:
    first = git(repo.root, "rev-parse", "HEAD")
    one = repo.put(2, f"{SHARED}/x.md", LINES, "akashi")
    repo.record(2, "checkout", "--quiet", "-b", "side")
    side = repo.put(3, "notes/y.md", "y", "hermes")
    repo.record(3, "checkout", "--quiet", "main")
    two = repo.put(4, f"{SHARED}/x.md", LINES + "two\n", "akashi")
    merge = repo.record(5, "merge", "--quiet", "--no-edit", "side")
    avm = repo.avm
    found = avm.log()
    assert hashes(found) == [merge, two, side, one, first]
    assert found[0].paths == {"/notes/y.md": "added"}
    assert hashes(avm.log("memory")) == [two, one, first]
    assert hashes(avm.log("/notes")) == [side]
    assert hashes(avm.log("notes/y.md")) == [side]
    assert hashes(avm.log(agent="akashi", limit=1)) == [two]
    assert hashes(avm.log(since="2026-11-04")) == [merge, two]
    assert avm.log(since=timedelta(seconds=1)) == [] or avm.store.now() < 1_794_000_000
    # Dates go by the first parents: what was merged on the 5th was not there on the 4th.
    assert avm.tree_at("2026-11-03").list("").keys() == {".avm", ".gitattributes", "memory"}
    assert "notes" in avm.tree_at("2026-11-05").list("")
    for bad in ({"since": "soon"}, {"limit": 0}, {"agent": "No One"}):
        with pytest.raises(UsageError):
            avm.log(**bad)  # type: ignore[arg-type]
    with pytest.raises(NotFoundError):
        avm.log("memory/nowhere")


def test_a_vault_without_commits(tmp_path: Path) -> None:
    root = tmp_path / "notes"
    root.mkdir()
    (root / "x.md").write_text("x")
    adopt(root)
    with AVM(root, semantic="off") as avm:
        for ask in (avm.log, lambda: avm.diff("x.md"), lambda: avm.show("x.md", "~1")):
            with pytest.raises(NotFoundError, match="nothing is committed yet"):
                ask()


# Access


@pytest.fixture
def shared(repo: Repository) -> Repository:
    """A history in which akashi may see parts of commits."""
    repo.write(f"{HERMES}/secret_plan.md", LINES)
    repo.write(f"{SHARED}/open.md", "open\n")
    repo.commit(2, "remember: secret_plan and open", "hermes")
    repo.put(3, f"{HERMES}/secret_plan.md", LINES + "more\n", "hermes")
    git(repo.root, "mv", f"{HERMES}/secret_plan.md", f"{SHARED}/plan.md")
    repo.commit(4, "share secret_plan", "hermes")
    repo.put(5, f"{SHARED}/plan.md", LINES + "more\nopen\n", "akashi")
    repo.put(6, f"{AKASHI}/own.md", "own\n", "akashi")
    repo.put(7, "notes/diary.md", "the owner's\n")
    return repo


def test_an_agent_s_log_names_only_what_it_may_see(shared: Repository) -> None:
    akashi = shared.avm.agent_memory("akashi")
    found = akashi.log()
    assert [(commit.subject, list(commit.paths)) for commit in found[:4]] == [
        (f"edit: {AKASHI}/own.md", [f"/{AKASHI}/own.md"]),
        (f"edit: {SHARED}/plan.md", [f"/{SHARED}/plan.md"]),
        ("remember: plan", [f"/{SHARED}/plan.md"]),
        ("remember: open", [f"/{SHARED}/open.md"]),
    ]
    assert found[2].ops == ("remember",)
    said = repr(found) + repr(akashi.log("memory")) + repr(akashi.log("/"))
    for hidden in ("secret", "hermes/", "diary", "notes"):
        assert hidden not in said
    assert len(shared.avm.log()) == 7
    assert shared.avm.log()[3].subject == "share secret_plan"


def test_an_agent_follows_a_file_no_further_than_it_may_see(shared: Repository) -> None:
    akashi, plan = shared.avm.agent_memory("akashi"), f"{SHARED}/plan.md"
    assert len(shared.avm.log(plan)) == 4
    found = akashi.log(plan)
    assert [commit.subject for commit in found] == [f"edit: {plan}", "remember: plan"]
    with pytest.raises(NotFoundError, match="was not there at"):
        akashi.show(plan, "2026-11-03")
    assert shared.avm.show(plan, "2026-11-03") == (LINES + "more\n").encode()
    blamed = akashi.blame(plan)
    assert [line.author for line in blamed] == [None] * 11 + ["akashi"]
    assert {line.hash for line in blamed[:11]} == {None}
    assert {line.author for line in shared.avm.blame(plan)} == {"hermes", "akashi"}
    assert "secret" not in akashi.diff(plan, "2026-11-04") + akashi.diff(plan, "2026-11-03")
    assert "+line 0\n" in akashi.diff(plan, "2026-11-03")


@pytest.mark.parametrize(
    "rel",
    [f"{HERMES}/secret_plan.md", "notes/diary.md", ".git/config", ".GIT/HEAD", HERMES, "notes"],
)
def test_what_an_agent_may_not_see_never_was(shared: Repository, rel: str) -> None:
    akashi = shared.avm.agent_memory("akashi")
    for ask in (
        akashi.log, akashi.show, akashi.diff, akashi.blame, akashi.history,
        lambda path: akashi.show(path, "~4"), lambda path: akashi.diff(path, "~4"),
    ):  # fmt: skip
        with pytest.raises(NotFoundError, match="no memory at"):
            ask(rel)
    for day in ("2026-11-03", "HEAD", "~1"):
        with pytest.raises(NotFoundError):
            akashi.tree_at(day).entry(rel)
        with pytest.raises(NotFoundError):
            virtual.read(akashi, f":at:{day}/{rel}")
    assert not akashi.ever_existed(rel)


def test_an_agent_s_past_tree(shared: Repository) -> None:
    tree = shared.avm.agent_memory("akashi").tree_at("2026-11-03")
    assert tree.list("").keys() == {"memory"}
    assert tree.list("memory").keys() == {"private", "shared"}
    assert tree.list("memory/private").keys() == set()
    assert tree.list(SHARED).keys() == {".gitkeep", "open.md"}
    assert virtual.read(shared.avm.agent_memory("akashi"), f":at:2026-11-03/{SHARED}/open.md")


# Trees


@pytest.mark.parametrize("many", [True, False], ids=["libgit2", "git"])
def test_both_ways_to_read_a_tree(repo: Repository, many: bool) -> None:
    repo.write(f"{SHARED}/x.md", "x → y\n")
    repo.write(f"{SHARED}/run.sh", "true\n")
    (repo.root / SHARED / "run.sh").chmod(0o755)
    (repo.root / SHARED / "link.md").symlink_to("x.md")
    os.close(os.open(os.fsencode(repo.root / SHARED) + b"/\xff.md", os.O_CREAT | os.O_WRONLY))
    head = repo.commit(2, "kinds")
    git(repo.root, "update-index", "--add", "--cacheinfo", f"160000,{head},{SHARED}/module")
    head = repo.record(3, "commit", "--quiet", "-m", "module")
    trees = PastTrees(open_vault(repo.root), many=many)
    found = trees.folder(head, SHARED)
    assert found.keys() == {".gitkeep", "x.md", "run.sh", "link.md", "\udcff.md", "module"}
    assert (found["x.md"].is_file, found["run.sh"].mode) == (True, 0o100755)
    assert found["link.md"].is_link and trees.read(found["link.md"]) == b"x.md"
    assert found["module"].is_folder and trees.folder(head, f"{SHARED}/module") == {}
    assert trees.size(found["x.md"]) == len("x → y\n".encode())
    assert trees.entry(head, f"{SHARED}/x.md/y") is None is trees.entry(head, "nope/x.md")
    assert trees.time(head) == 1_793_707_200
    with pytest.raises(NotFoundError):
        trees.folder(head, f"{SHARED}/x.md")


def test_a_repository_that_libgit2_cannot_open(tmp_path: Path) -> None:
    root = tmp_path / "sha256"
    git(tmp_path, "init", "--quiet", "--object-format=sha256", str(root))
    (root / "memory").mkdir()
    (root / "memory" / "x.md").write_text("one\n")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "one")
    adopt(root)
    with AVM(root, semantic="off") as avm:
        head = history.head(avm.store.vault)
        assert head is not None and len(head) == 64
        assert avm.tree_at(head[:8]).list("memory").keys() == {"x.md"}
        assert virtual.read(avm, ":at:HEAD/memory/x.md").data == b"one\n"
        assert avm.show("memory/x.md", "~0") == b"one\n"
        (root / "memory" / "x.md").write_text("two\n")
        assert "-one\n+two\n" in avm.diff("memory/x.md")
        assert avm.blame("memory/x.md")[0].hash is None


def test_what_is_no_file_name_is_not_in_a_tree(repo: Repository) -> None:
    """Such a tree can come with a pull; git itself would not make it."""
    blob = git(repo.root, "hash-object", "-w", ".gitattributes")
    names = (b"..", b".", b".git", b"x.md")
    raw = b"".join(b"100644 %s\0%s" % (name, bytes.fromhex(blob)) for name in sorted(names))
    command = ["git", "hash-object", "-t", "tree", "-w", "--literally", "--stdin"]
    done = subprocess.run(command, cwd=repo.root, input=raw, capture_output=True, check=True)
    commit = git(repo.root, "commit-tree", "-m", "evil", done.stdout.decode().strip())
    assert repo.avm.tree_at(commit).list("").keys() == {"x.md"}
