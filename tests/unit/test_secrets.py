"""What looks like a secret is found, by its rule, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import os
import random
import string
import subprocess
import sys
import time
import timeit
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLE
from hypothesis import given
from hypothesis import strategies as st

from avm.base import secrets
from avm.base.secrets import Finding, find

sys.path.insert(0, str(Path(__file__).parent))
from secret_shapes import (
    ALNUM,
    ASSIGNED,
    ASSIGNING,
    BASE64,
    CODE,
    HEX,
    NAMED,
    PROSE,
    SHAPES,
    YAML,
    Maker,
    weak_value,
)

COUNT = 500
#: The dialogues of the LoCoMo benchmark, which may not be copied here.
LOCOMO = Path(os.environ.get("LOCOMO_TEXT") or "none")
TEXTS = {"prose": PROSE, "yaml": YAML, "code": CODE}


def rules(text: str | bytes) -> set[str]:
    """The rules that find something in a text."""
    return {found.rule for found in find(text.encode() if isinstance(text, str) else text)}


# What is found


@pytest.mark.parametrize("where", TEXTS)
@pytest.mark.parametrize("rule", SHAPES)
def test_500_secrets_of_each_shape_are_found(rule: str, where: str) -> None:
    maker, missed = Maker(7), []
    texts = TEXTS[where]
    for n in range(COUNT):
        secret = SHAPES[rule](maker)
        if where == "code":
            secret = secret.replace("\n", "\\n")
        text = texts[n % len(texts)].format(secret)
        found = find(text.encode())
        if not any(f.rule == rule and f.certain for f in found):
            missed.append(text)
    rate = 1 - len(missed) / COUNT
    assert rate >= 0.98, f"{rule} in {where}: {rate:.1%} found, not {missed[:3]}"


@pytest.mark.parametrize("rule", ASSIGNED)
def test_500_secrets_that_their_names_tell_of_are_found(rule: str) -> None:
    names, draw = ASSIGNED[rule]
    maker, missed = Maker(7), []
    for n in range(COUNT):
        text = ASSIGNING[n % len(ASSIGNING)].format(name=maker.pick(*names), value=draw(maker))
        if rule not in rules(text):
            missed.append(text)
    rate = 1 - len(missed) / COUNT
    assert rate >= 0.98, f"{rule}: {rate:.1%} found, not {missed[:3]}"


@pytest.mark.parametrize("form", ASSIGNING)
def test_drawn_values_of_telling_names_are_suspected(form: str) -> None:
    maker, missed = Maker(7), []
    for _ in range(COUNT):
        text = form.format(name=maker.pick(*NAMED), value=weak_value(maker))
        if not find(text.encode()):
            missed.append(text)
    rate = 1 - len(missed) / COUNT
    assert rate >= 0.98, f"{form}: {rate:.1%} found, not {missed[:3]}"


def test_every_rule_is_tested() -> None:
    weak = {"stripe-test-key", "json-web-token", "password-in-url", "bearer-token"}
    assert set(secrets.NAMES) == {*SHAPES, *ASSIGNED, *weak, "assigned-secret"}


def test_other_suspicions() -> None:
    m = Maker(3)
    part = "e" + "yJ" + m.draw(ALNUM, 20)
    url = f"postgres://app:{m.draw(ALNUM, 16)}@db.internal.example:5432/prod"
    for rule, text in {
        "json-web-token": f"Cookie: {part}.{part}.{m.draw(ALNUM, 43)}\n",
        "password-in-url": f"connect to {url} only",
        "bearer-token": f"-H 'Authorization: Bearer {m.draw(ALNUM, 40)}'",
        "stripe-test-key": "use sk" + "_test_" + m.draw(ALNUM, 24),
    }.items():
        assert [(f.rule, f.certain) for f in find(text.encode())] == [(rule, False)], text


def test_a_finding_tells_the_line_and_not_the_secret() -> None:
    m = Maker(1)
    token, value = SHAPES["github-token"](m), m.draw(ALNUM, 20)
    data = f"---\ntitle: x\n---\r\nGITHUB_TOKEN={token} and {token}\n\npassword: {value}\n".encode()
    found = find(data)
    assert found == [Finding("github-token", True, 4), Finding("assigned-secret", False, 6)]
    assert secrets.told(found[::-1]) == "github-token, line 4; assigned-secret, line 6"
    told = secrets.told([Finding("a", False, 1), Finding("b", False, 2), Finding("c", True, 9)])
    assert told == "c, line 9; a, line 1; and 1 more"


def test_a_file_full_of_secrets_is_told_of_by_the_first_hundred() -> None:
    m = Maker(1)
    data = "".join(SHAPES["github-token"](m) + "\n" for _ in range(3000)).encode()
    assert [found.line for found in find(data)] == list(range(1, 101))


# What is not


def _placeholders() -> list[str]:
    values = [
        "xxxxxxxxxxxxxxxxxxxxxxxx", "<your key>", "<API_KEY>", "${VAR}", "${{ secrets.TOKEN }}",
        "$TOKEN_V2", "$(cat key2file)", "changeme", "changeme123456", "os.environ['K3Y']",
        'os.environ["API_KEY_V2"]', "process.env.API_KEY_2", "getenv('X1Y2Z3W4')", "{{ vault_pw }}",
        "your-api-key-here-1234", "********", "...", "…", "TODO", "REDACTED", "null", "None",
        "placeholder-1a2b3c4d", "op://vault/item3/field4", "/run/secrets/db_password_1",
        "!vault", "%DB_PASSWORD_1%", "hunter2", "correct horse battery staple", "see 1Password",
        "rotated on 2026-11-20T09:00:00Z", "o200k_base", "cl100k_base", "2000", "1.2.3-rc4",
        "in the secret store", "settings.API_KEY_V2", "self._token_1a", "getApiKeyFromEnv()",
        "readSecretFromKeychain", "Qwen2.5-7B-Instruct", "sha256:" + "0f" * 32,
        str(uuid.UUID(int=7**40)),
        "dummy-1a2b3c4d5e6f", "arn:aws:ssm:eu:1234:p4r4m", "example1A2B3C4D", "token123",
        "secret2024",
    ]  # fmt: skip
    return values


@pytest.mark.parametrize("value", _placeholders())
def test_placeholders_and_references_are_no_secrets(value: str) -> None:
    for form in ASSIGNING:
        for name in ("password", "API_KEY", "client_secret", "token"):
            text = form.format(name=name, value=value)
            assert find(text.encode()) == [], text


def test_documented_examples_are_no_secrets() -> None:
    example = "EXAM" + "PLE"
    for text in (
        "AKIA" + "IOSFODNN7" + example,
        f"aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCY{example}KEY",
        "gh" + "p_" + "x" * 36,
        "sk" + "-" + "X" * 48,
        "sk" + "-ant-api03-your-key-goes-in-here-please",
        "xox" + "b-your-token-goes-right-here",
        "https://hooks" + ".slack.com/services/T00000000/B00000000/" + "X" * 24,
        "postgres://user:password@localhost:5432/db",
        "https://user:${TOKEN}@github.com/x/y",
        "-----BEGIN " + "PRIVATE KEY----- is how the file begins, then -----END",
        "task-4f3a9c1b2d4e5f60718293a4b5c6d7e8f90a1b2c",
    ):
        assert find(text.encode()) == [], text


def _sample_vault() -> bytes:
    return b"\n".join(p.read_bytes() for p in sorted(SAMPLE.rglob("*")) if p.is_file())


def _locomo() -> bytes:
    if not LOCOMO.exists():
        pytest.skip("LOCOMO_TEXT names no file")
    return LOCOMO.read_bytes()


def _git_log() -> bytes:
    done = subprocess.run(["git", "log", "-p"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode or not done.stdout:
        pytest.skip("the sources are in no git repository")
    return done.stdout


def _made_git_log() -> bytes:
    r, out = random.Random(5), []
    for n in range(2000):
        sha, tree = (f"{r.getrandbits(160):040x}" for _ in range(2))
        out.append(
            f"commit {sha}\nAuthor: akashi <akashi@agents.avm.invalid>\n"
            f"Date: Fri Nov 20 09:00:{n % 60:02} 2026 +0000\n\n    token: rotate keys\n\n"
            f"    Change-Id: I{tree}\n    cherry picked from commit {sha}\n\n"
            f"diff --git a/tokens.py b/tokens.py\nindex {sha[:10]}..{tree[:10]} 100644\n"
            f"-secret_key = load()\n+api_key = os.environ['API_KEY_{n}']\n"
        )
    return "".join(out).encode()


def _lock_files() -> bytes:
    r = random.Random(5)
    m = Maker(5)
    names = ["js-tokens", "csrf-token", "secretstorage", "tokenizers", "keyring", "passlib", "left"]
    npm, poetry, uv, cargo, yarn, go, pipfile = {}, "", "", "", "", "", {}
    for n in range(300):
        name = f"{names[n % len(names)]}-{n}"
        sha512 = "sha512-" + m.draw(BASE64, 86) + "=="
        sha256 = "sha256:" + m.draw(HEX, 64)
        url = f"https://registry.example.org/{m.draw(HEX, 2)}/{m.draw(HEX, 60)}/{name}-1.{n}.tar.gz"
        npm[f"node_modules/{name}"] = {"version": f"1.{n}.0", "resolved": url, "integrity": sha512}
        poetry += f'[[package]]\nname = "{name}"\nversion = "1.{n}"\nfiles = [\n    {{file = "{name}-1.{n}-py3-none-any.whl", hash = "{sha256}"}},\n]\n'  # noqa: E501
        uv += f'[[package]]\nname = "{name}"\nsdist = {{ url = "{url}", hash = "{sha256}", size = {n}123 }}\n'  # noqa: E501
        cargo += f'[[package]]\nname = "{name}"\nsource = "registry+https://github.com/rust-lang/crates.io-index"\nchecksum = "{m.draw(HEX, 64)}"\n'  # noqa: E501
        yarn += f'"{name}@^1.{n}":\n  version "1.{n}.0"\n  resolved "{url}#{m.draw(HEX, 40)}"\n  integrity {sha512}\n'  # noqa: E501
        go += f"github.com/golang/{name} v1.{n}.0 h1:{m.draw(BASE64, 43)}=\n"
        go += f"github.com/golang/{name} v1.{n}.0/go.mod h1:{m.draw(BASE64, 43)}=\n"
        pipfile[name] = {"hashes": [sha256, sha256], "version": f"==1.{r.randint(1, 9)}"}
    return "\n".join([json.dumps(npm, indent=2), poetry, uv, cargo, yarn, go,
                      json.dumps(pipfile, indent=1)]).encode()  # fmt: skip


def _ids_in_prose() -> bytes:
    r, lines = random.Random(5), []
    for n in range(3000):
        sha = hashlib.sha256(str(n).encode()).hexdigest()
        some = uuid.UUID(int=r.getrandbits(128))
        lines.append(
            f"The token for request {some} was renewed in {sha[:40]}, see {sha} ({sha[:7]}).\n"
            f"session: {some}\ncommit: {sha[:40]}\ntoken_id: {some}\nkey: {sha[:12]}\n"
            f'password_hash: {sha}\nblob {sha[:40]} etag "{sha[:32]}" key={some}\n'
            f"image: registry/app@sha256:{sha}\nsecret_ref: {some}\npassword: {some}\n"
        )
    return "".join(lines).encode()


@pytest.mark.parametrize(
    "corpus",
    [_sample_vault, _locomo, _git_log, _made_git_log, _lock_files, _ids_in_prose],
    ids=lambda made: made.__name__.strip("_"),
)
def test_nothing_is_found_where_nothing_is(corpus: Callable[[], bytes]) -> None:
    data = corpus()
    lines = data.split(b"\n")
    assert [(f, lines[f.line - 1][:120]) for f in find(data)] == []


# Cost


def test_a_memory_costs_microseconds() -> None:
    """A fixed share of what hashing does would be finer; this catches a rule that is not cheap."""
    data = _sample_vault()[:2000]
    assert find(data) == []
    best = min(timeit.repeat(lambda: find(data), number=200, repeat=10)) / 200
    assert best < 200e-6, f"{best * 1e6:.0f} µs"


def _adversaries() -> list[bytes]:
    units = [b"a", b"-", b"=", b'"', b"\n", b"token=", b"secret=", b"pass: ", b"api_key_", b"eyJ-",
             b"eyJaaaaaaaa.", b"://a:aaaaaaaaaa@", b"bearer aaaaaaaaaaaaaaaaaaaaaaaa ", b"sk-ant-",
             b"password for a a a ", b"token: aaa.aaa = ", b"glpat--", b"pypi-AgE", b"Q~", b"SK",
             b"-----BEGIN " + b"PRIVATE KEY-----\n",
             b"-----BEGIN " + b"PRIVATE KEY-----" + b"\\n" * 9,
             b"-----BEGIN " + b"PRIVATE KEY-----\n" + b"Version: x\n" * 9]  # fmt: skip
    return units


@pytest.mark.parametrize("unit", _adversaries(), ids=repr)
def test_time_grows_with_length_and_no_faster(unit: bytes) -> None:
    times = []
    for size in (50_000, 400_000):
        data = unit * (size // len(unit))
        start = time.process_time()
        find(data)
        times.append(time.process_time() - start)
    # Eight times the bytes: a square would take 64 times as long.
    assert times[1] < 24 * times[0] + 0.2, times


@given(st.binary(max_size=400))
def test_any_bytes_are_looked_at(data: bytes) -> None:
    for found in find(data):
        assert 1 <= found.line <= data.count(b"\n") + 1


@given(
    st.sampled_from(sorted(SHAPES)),
    st.integers(0, 2**32),
    st.text(string.printable + "日本", max_size=200),
    st.text(string.printable + "日本", max_size=200),
)
def test_a_token_is_found_whatever_is_around_it(
    rule: str, seed: int, before: str, after: str
) -> None:
    token = SHAPES[rule](Maker(seed))
    text = f"{before}\n{token}\n{after}"
    if not secrets._is_no_dummy(token.encode()):  # one in thousands has `12345` in it
        return
    line = before.count("\n") + 2
    assert any(f.line >= line for f in find(text.encode()) if f.rule == rule)
