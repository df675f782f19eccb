"""What looks like a secret in a file's bytes: a table of named rules. Pure.

Two kinds. A *certain* finding has the exact shape of a token that some service hands out; a *weak*
one is a value without meaning that is assigned to a name such as `password`. What is done about
either is decided elsewhere (docs/secrets.md).

A table of our own and not `detect-secrets`: that scans lines of code (a password told in prose is
nothing to it), takes hashes in lock files for secrets, imports `requests`, and has had no release
since May 2024. Every write and every commit goes through here, so this must cost microseconds and
find nothing where nothing is.

How it stays fast on any input: bytes are searched for a rule's literals, and its pattern is matched
only where one stands, with bounded or possessive repeats. There is no place for backtracking.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

#: A file that is full of them is told of by its first ones.
_MOST = 100
#: So much of a value is looked at to tell whether it was drawn.
_JUDGED = 40


@dataclass(frozen=True)
class Finding:
    """One secret: the rule's name, whether its shape leaves no doubt, the line (from 1)."""

    rule: str
    certain: bool
    line: int

    def __str__(self) -> str:
        return f"{self.rule}, line {self.line}"


def find(data: bytes) -> list[Finding]:
    """What looks like a secret in `data`, by line; a rule is named once a line, 100 in all."""
    spans: list[tuple[int, int, _Rule]] = []
    lowered = data.lower()  # ASCII only, so offsets stay what they are
    for table, searched, text in (
        (_IN_RUNS, _long_runs(data), data),
        (_CASED, data, data),
        (_FOLDED, lowered, lowered),
    ):
        if searched:
            for literal, rules in table.items():
                if literal in searched:
                    for rule in rules:
                        spans += _matches(rule, literal, data, text)
    return _told(spans, data) if spans else []


def told(findings: Sequence[Finding]) -> str:
    """Findings in a few words, never with the secret: the certain ones first, two at most."""
    first = sorted(findings, key=lambda finding: not finding.certain)
    shown = "; ".join(map(str, first[:2]))
    return shown if len(first) <= 2 else f"{shown}; and {len(first) - 2} more"


def _long_runs(data: bytes) -> bytes:
    """The parts of `data` that are long enough for a token: few, where there is none."""
    shape = data.translate(_SHAPE)
    runs = []
    at = shape.find(_SHORTEST)
    while at >= 0:
        end = shape.find(b" ", at)
        end = len(data) if end < 0 else end
        runs.append(data[at:end])
        at = shape.find(_SHORTEST, end)
    return b" ".join(runs)


def _matches(
    rule: _Rule, literal: bytes, data: bytes, text: bytes
) -> Iterator[tuple[int, int, _Rule]]:
    """Where `rule` holds for what stands at a `literal` of `text`: (start, end, rule)."""
    at, found = text.find(literal), 0
    while at >= 0 and found < _MOST:
        match = rule.pattern.match(data, at)
        end = at + len(literal)
        if match:
            group = match.lastindex or 0
            if rule.holds(match[group]):
                yield at, match.end(group), rule
                found += 1
                end = match.end(group)
        at = text.find(literal, end)


def _told(spans: list[tuple[int, int, _Rule]], data: bytes) -> list[Finding]:
    """Findings from spans: a certain one hides the weak ones that overlap it."""
    spans.sort(key=lambda span: (span[0], not span[2].certain))
    certain = [(start, end) for start, end, rule in spans if rule.certain]
    told: dict[Finding, None] = {}
    line, counted = 1, 0
    for start, end, rule in spans:
        if not rule.certain and any(s < end and start < e for s, e in certain):
            continue
        line, counted = line + data.count(b"\n", counted, start), start
        told[Finding(rule.name, rule.certain, line)] = None
    return list(told)[:_MOST]


# Is a value real?

#: What examples and templates put where a secret would be.
_DUMMY = re.compile(
    rb"example|sample|placeholder|your|change.?me|dummy|fake|redacted|insert|replace|password"
    rb"|secret|x{4}|0{6}|1{6}|12345|abcde|deadbeef|\*{3}|\.{3}|not.?real|goes.?here"
    rb"|[$#]\{|\{\{|\{\w*\}|%\(|<\w",
    re.IGNORECASE,
)
#: Values that refer to a secret, or are something else with a form of its own.
_REFERENCE = re.compile(
    rb"\$\w+\Z|%\w+%?\Z|[$%][({]|!\w+\Z|[&*]\w+\Z|[{<\[(]|\\[uUx]"
    rb"|~?\.{0,2}/[A-Z]?[a-z_.-]+/|\w+://"
    rb"|(?:op|arn|enc|env|vault|file|ref|ssm|sha\d+|md5|data)[:\[-]"
    rb"|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\Z"  # a UUID
    rb"|\d{4}-\d\d-\d\d"  # an instant
    rb"|[A-Za-z_][\w.]*\(\Z"  # load_key()
    rb"|[A-Za-z_]\w*(?:(?:\.|::|->)[A-Za-z_]\w*)+\Z",  # os.environ, self.token
    re.IGNORECASE,
)
#: The kind of each byte: `a`, `A`, `0`, `!` for what passwords are spiced with, `-` for the rest.
_KINDS = bytes(
    97 if 97 <= n < 123 else 65 if 65 <= n < 91 else 48 if 48 <= n < 58 else
    33 if n in b"!@#$%^*" else 45
    for n in range(256)
)  # fmt: skip
#: Neighbours of different kinds, but for a capital before small letters: words have those.
_CHANGES = (b"a0", b"0a", b"A0", b"0A", b"aA", b"a!", b"!a", b"A!", b"!A", b"0!", b"!0")
#: The pairs of letters that make up six of seven in English words.
_COMMON_PAIRS = frozenset(
    (
        b"er in re te on le en at st or es ti se nt co de ar al et ta me ri an li ra it tr ro ed "
        b"io ex ng ge nd th ec ma ne ns as la el ce lo ct to pe is ea ve si fi ac il ic ca di pr "
        b"pa ou ll ch na un he ss rt ut ol am om rs im nc ad mp no op ts ur po fo ha ot pl em ab "
        b"od ke ef ig ty da cl bl mo mi sc us sp id ho tt ul ag os so va oc xe be hi ep ap ck sh "
        b"ni rr ls su ie ow um pt do ia ai eg ee rd lt ue rc ba rm gr tu lu up tc nu ev xt cr bu "
        b"ir au qu ht wi ry ay oo if ui vi bo ff yp sa ld ci fa gh cu ip dd pu tp ds iv ib gs rn "
        b"fl bi gi fr ub nf ly pp nv ru ok ob py wo ov fe "
    ).split()
)


def _is_no_dummy(value: bytes) -> bool:
    """Whether `value` could have been drawn at random: many different characters, no filler."""
    return 2 * len(set(value)) >= min(len(value), 16) and not _DUMMY.search(value)


def _is_drawn(value: bytes) -> bool:
    """Whether `value` has no meaning to a reader: no words, no name, no reference, no filler."""
    value = value[:_JUDGED]
    bare = value.rstrip(b".,;:!?)]}*_\\")
    kinds = bare.translate(_KINDS)
    changes = sum(map(kinds.count, _CHANGES))
    mixed = changes >= (3 if len(bare) >= 10 else 4) and 5 * changes >= len(bare) - 1
    if len(bare) < 8 or not (mixed or _is_no_words(bare.lower(), kinds)):
        return False
    return _is_no_dummy(value) and not _REFERENCE.match(bare)


def _is_no_words(lowered: bytes, kinds: bytes) -> bool:
    """Whether letters follow each other as they do in no word; little else is there."""
    pairs = [
        lowered[n : n + 2]
        for n in range(len(kinds) - 1)
        if kinds[n : n + 2] in (b"aa", b"AA", b"Aa")
    ]
    common = sum(pair in _COMMON_PAIRS for pair in pairs)
    return len(pairs) >= 8 and 2 * len(pairs) >= len(kinds) and common < 0.45 * len(pairs)


def _is_mixed(value: bytes) -> bool:
    """Whether `value` is drawn from small and capital letters and digits: no hash, no words."""
    kinds = set(value.translate(_KINDS))
    return kinds.issuperset(b"aA0") and _is_no_dummy(value)


def _is_any(value: bytes) -> bool:
    return True


# The table

#: What tokens are made of, as `a`; the rest as blanks. The shortest token is AWS's.
_SHAPE = bytes(97 if chr(n) in "._~-" or (n < 128 and chr(n).isalnum()) else 32 for n in range(256))
_SHORTEST = b"a" * 20
#: A token begins here: after what is no part of a word, or after an escaped line end or tab.
_START = rb"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
#: The same for a token with dashes in it: else each part of a long chain of dashes would be tried.
_DASHED_START = rb"(?:(?<![\w-])|(?<=\\[nrt]))"
_END = rb"(?![A-Za-z0-9])"
#: From a name to its value: `: `, ` = `, `": `, `: str = `, `** | `, ` is `, ` for staging is `.
_ASSIGNED = (
    rb"[\"'`*)\]\\]{0,4}+(?:[ \t](?:for|of|to|on|in|at)(?:[ \t][\w.@/-]{1,30}+){1,4}?)?[ \t]{0,8}+"
    rb"(?::=|=[=>]?|:(?:[ \t]{0,4}[A-Za-z_][\w.|\[\]]{0,24}+[ \t]{0,4}=)?|\|"
    rb"|(?<=[ \t])(?:is|was)(?:[ \t]now)?(?=[ \t:]))[ \t*:]{0,8}+"
)
_QUOTES = rb"[rbfuRBFU]{0,2}(?:\\?[\"'`]){1,3}+"
#: Names that secrets are given; what follows in the name may take that back.
_NAMES = (
    rb"(?i:(?<!public)(?<!public[_-])(?<!publickey))(?i:pass(?:word|wd|phrase|code)?+|pwd|secrets?+|(?:auth|bearer)?token|credentials?+"
    rb"|(?:(?<=api)|(?<=access)|(?<=private)|(?<=signing)|(?<=encryption)|(?<=auth)|(?<=secret)"
    rb"|(?<=api[ _-])|(?<=access[ _-])|(?<=private[ _-])|(?<=signing[ _-])|(?<=encryption[ _-])"
    rb"|(?<=auth[ _-])|(?<=account[ _-])|(?<=master[ _-])|(?<=license[ _-]))key)"
    rb"(?!\w{0,24}(?i:hash|sha\d|digest|count|limit|_id\b|file|path|name|ur[il]\b|type|expir|polic))"
    rb"[\w-]{0,30}+"
)


@dataclass(frozen=True)
class _Rule:
    """`pattern` is matched where one of `literals` stands, and `holds` judges its last group, else
    the whole. With `folded` the literals are in small letters and stand for any case; with
    `in_runs` they are part of a run of token characters, which is at least 20 long."""

    name: str
    literals: tuple[bytes, ...]
    pattern: re.Pattern[bytes]
    certain: bool = True
    folded: bool = False
    in_runs: bool = False
    holds: Callable[[bytes], bool] = _is_no_dummy


def _token(name: str, shape: bytes, *literals: bytes, **more: object) -> _Rule:
    """A token of this shape that stands for itself."""
    start = _DASHED_START if b"-]" in shape else _START
    pattern = re.compile(start + shape + _END)
    return _Rule(name, literals, pattern, in_runs=True, **more)  # type: ignore[arg-type]


_RULES = (
    # Clouds
    _token("aws-access-key", rb"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",
           b"AKIA", b"ASIA", b"ABIA", b"ACCA"),
    _Rule("aws-secret-key",
          (b"secret",),
          re.compile(rb"(?i:secret[_ -]?access[_ -]?key|(?:(?<=aws)|(?<=aws[_ -]))secret"
                     rb"(?:[_ -]?key)?)" + _ASSIGNED
                     + rb"(?:" + _QUOTES + rb")?+([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"),
          folded=True, holds=_is_mixed),
    _token("google-api-key", rb"AIza[\w-]{35}", b"AIza"),
    _token("google-oauth", rb"(?:GOCSPX-[\w-]{28}|ya29\.[\w-]{30,400}+)", b"GOCSPX-", b"ya29."),
    _Rule("azure-storage-key", (b"key",),
          re.compile(rb"(?i:(?:(?<=account)|(?<=storage)|(?<=account[_ -])|(?<=storage[_ -]))key)"
                     + _ASSIGNED
                     + rb"(?:" + _QUOTES + rb")?+([A-Za-z0-9+/]{86}==)"),
          folded=True),
    _Rule("azure-client-secret", (b"Q~",),
          re.compile(rb"(?<![\w.~-]....)(?<=[\w.~-]{3}\d)Q~[\w.~-]{31,34}+" + _END),
          in_runs=True),
    _token("digitalocean-token", rb"do[opr]_v1_[0-9a-f]{64}", b"dop_v1_", b"doo_v1_", b"dor_v1_"),
    _token("databricks-token", rb"dapi[0-9a-f]{32}(?:-\d)?", b"dapi"),
    _token("vault-token", rb"hv[sb]\.[\w-]{24,300}+", b"hvs.", b"hvb."),
    # AVM's own (avm.api.tokens): 43 characters by chance after the agent's name
    _token("avm-token", rb"avm_[a-z0-9][a-z0-9_-]{0,62}?_(?=[\w-]{0,42}[A-Z])(?=[\w-]{0,42}\d)"
           rb"[\w-]{43}", b"avm_"),
    # Code and packages
    _token("github-token", rb"(?:gh[pousr]_[A-Za-z0-9]{36,255}+|github_pat_\w{50,255}+)",
           b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_"),
    _token("gitlab-token", rb"gl(?:pat|ptt|dt|rt|cbt|ft|soat|agent)-[\w-]{20,300}+",
           b"glpat-", b"glptt-", b"gldt-", b"glrt-", b"glcbt-", b"glft-", b"glsoat-", b"glagent-"),
    _token("npm-token", rb"npm_[A-Za-z0-9]{36}", b"npm_"),
    _token("pypi-token", rb"pypi-AgE[\w-]{50,500}+", b"pypi-AgE"),
    _token("docker-token", rb"dckr_(?:pat|oat)_[\w-]{27,40}+", b"dckr_"),
    # Models
    _token("anthropic-key", rb"sk-ant-[\w-]{24,300}+", b"sk-ant-"),
    _token("openai-key", rb"sk-(?:(?:proj|svcacct|admin|None)-[\w-]{20,300}+"
           rb"|or-v1-[0-9a-f]{64}|[A-Za-z0-9]{32,64}+)", b"sk-"),
    _token("huggingface-token", rb"hf_[A-Za-z0-9]{34,40}+", b"hf_"),
    _token("groq-key", rb"gsk_[A-Za-z0-9]{52}", b"gsk_"),
    _token("xai-key", rb"xai-[A-Za-z0-9]{80}", b"xai-"),
    # Messages, mail, money
    _token("slack-token", rb"(?:xox[a-z](?:\.xox[bp])?-(?:\d{6,20}-){0,3}([A-Za-z0-9-]{16,300}+)"
           rb"|xapp-\d-[A-Za-z0-9-]{20,300}+)", b"xox", b"xapp-"),
    _Rule("slack-webhook", (b"hooks",),
          re.compile(rb"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9/]{30,100}+)")),
    _Rule("discord-webhook", (b"hooks",),
          re.compile(rb"(?<=\.com/api/web)hooks/\d{17,20}/([\w-]{60,80}+)")),
    _Rule("telegram-token", (b":AA",),
          re.compile(rb"(?<=\d{8}):(AA[\w-]{33})" + _END)),
    _token("twilio-key", rb"SK[0-9a-f]{32}", b"SK"),
    _token("sendgrid-key", rb"SG\.[\w-]{16,32}+\.[\w-]{16,64}+", b"SG."),
    _token("stripe-key", rb"[sr]k_live_[A-Za-z0-9]{16,250}+", b"sk_live_", b"rk_live_"),
    _token("stripe-test-key", rb"[sr]k_test_[A-Za-z0-9]{16,250}+", b"sk_test_", b"rk_test_",
           certain=False),
    _token("shopify-token", rb"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",
           b"shpat_", b"shpca_", b"shppa_", b"shpss_"),
    # Keys
    _Rule("private-key", (b"-----BEGIN ",),
          re.compile(rb"-----BEGIN (?:[A-Z0-9]{2,10} ){0,2}PRIVATE KEY(?: BLOCK)?-----"
                     rb"(?:(?:[ \t\r\n]|\\[nr])++[ \t>*+|#\"'-]{0,24}+"
                     rb"(?:[A-Z][A-Za-z-]{2,15}: [^\r\n\\]{0,100}+)?+){1,8}"
                     rb"([A-Za-z0-9+/=]{30})"),
          holds=_is_any),
    _token("age-key", rb"AGE-SECRET-KEY-1[0-9A-Z]{58}", b"AGE-SECRET-KEY-1", holds=_is_any),
    # Suspicions
    _Rule("json-web-token", (b"eyJ",),
          re.compile(rb"(?<![\w.-])eyJ[\w-]{8,2000}+\.eyJ[\w-]{8,4000}+\.[\w-]{16,2000}+"),
          certain=False, in_runs=True),
    _Rule("password-in-url", (b"://",),
          re.compile(rb"://[^\s:/@?#\"'<>`]{0,64}+:([^\s/@\"'<>`]{8,200}+)@"
                     rb"[\w-]{1,64}+[.:\w-]{2,200}"),
          certain=False, holds=_is_drawn),
    _Rule("bearer-token", (b"bearer ",),
          re.compile(rb"(?i:bearer) ([\w.~+/-]{20,500}+=*+)"),
          certain=False, folded=True, holds=_is_drawn),
    _Rule("assigned-secret", (b"pass", b"pwd", b"secret", b"token", b"credential", b"key"),
          re.compile(_NAMES + _ASSIGNED + rb"(?:" + _QUOTES + rb"([^\s\"'`]{8,300}+)[\"'`]"
                     rb"|([^\s\"'`,;|<>(){}\[\]\\]{8,300}+)(?![(\[{<]))"),
          certain=False, folded=True, holds=_is_drawn),
)  # fmt: skip


def _by_literal(chosen: Callable[[_Rule], bool]) -> dict[bytes, list[_Rule]]:
    table: dict[bytes, list[_Rule]] = {}
    for rule in filter(chosen, _RULES):
        for literal in rule.literals:
            table.setdefault(literal, []).append(rule)
    return table


_IN_RUNS = _by_literal(lambda rule: rule.in_runs)
_CASED = _by_literal(lambda rule: not rule.in_runs and not rule.folded)
_FOLDED = _by_literal(lambda rule: rule.folded)
#: Every rule's name, certain ones first.
NAMES = tuple(rule.name for rule in sorted(_RULES, key=lambda rule: not rule.certain))
