"""Secrets made at run time, by shape, and the texts that people leave them in.

Nothing here is a secret, and no literal looks like one: scanners that read this repository would
hold it against us.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable

ALNUM = string.ascii_letters + string.digits
BASE64 = ALNUM + "+/"
URL64 = ALNUM + "-_"
HEX = string.hexdigits[:16]
CAPS = string.ascii_uppercase + string.digits


class Maker:
    """Draws secrets from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def draw(self, alphabet: str, length: int, longest: int = 0) -> str:
        """Characters of `alphabet`; ends on no dash, which a text would swallow."""
        size = self.random.randint(length, max(length, longest))
        drawn = self.random.choices(alphabet, k=size - 1)
        return "".join(drawn) + self.random.choice([c for c in alphabet if c.isalnum()])

    def pick(self, *choices: str) -> str:
        """One of `choices`."""
        return self.random.choice(choices)

    def key_block(self, kind: str) -> str:
        """A private key as its program writes it."""
        lines = [self.draw(BASE64, 64) for _ in range(self.random.randint(2, 12))]
        head = {"PGP ": ["Version: GnuPG v2", ""], "RSA ": []}.get(kind, [])
        if kind == "RSA " and self.random.random() < 0.3:
            head = ["Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-128-CBC," + self.draw(CAPS, 32), ""]
        tail = " BLOCK" if kind == "PGP " else ""
        dashes = "-" * 5
        begin = f"{dashes}BEGIN {kind}PRIVATE KEY{tail}{dashes}"
        end = f"{dashes}END {kind}PRIVATE KEY{tail}{dashes}"
        return "\n".join([begin, *head, *lines, self.draw(BASE64, 20) + "==", end])


#: A rule's name → how to draw what it is for.
SHAPES: dict[str, Callable[[Maker], str]] = {
    "aws-access-key": lambda m: m.pick("AK", "AS") + "IA" + m.draw(CAPS, 16),
    "google-api-key": lambda m: "AI" + "za" + m.draw(URL64, 35),
    "google-oauth": lambda m: m.pick("GOCS" + "PX-" + m.draw(URL64, 28),
                                     "ya" + "29." + m.draw(URL64, 60, 200)),
    "azure-client-secret": lambda m: m.draw(ALNUM, 3) + m.draw("0123456789", 1) + "Q" + "~"
                                     + m.draw(URL64, 31, 34),
    "digitalocean-token": lambda m: m.pick("dop", "doo") + "_v1_" + m.draw(HEX, 64),
    "databricks-token": lambda m: "da" + "pi" + m.draw(HEX, 32),
    "avm-token": lambda m: "avm" + "_" + m.pick("akashi", "claude-code", "a_b") + "_"
                           + m.draw(URL64, 43),
    "vault-token": lambda m: "hv" + "s." + m.draw(URL64, 24, 100),
    "github-token": lambda m: m.pick("ghp", "gho", "ghu", "ghs", "ghr") + "_" + m.draw(ALNUM, 36)
                              if m.random.random() < 0.7 else
                              "github" + "_pat_" + m.draw(ALNUM, 22) + "_" + m.draw(ALNUM, 59),
    "gitlab-token": lambda m: m.pick("glpat", "glrt", "gldt") + "-" + m.draw(URL64, 20, 26),
    "npm-token": lambda m: "np" + "m_" + m.draw(ALNUM, 36),
    "pypi-token": lambda m: "py" + "pi-" + "AgEIcHlwaS5vcmc" + m.draw(URL64, 80, 180),
    "docker-token": lambda m: "dckr" + "_pat_" + m.draw(URL64, 27),
    "anthropic-key": lambda m: "sk" + "-ant-" + m.pick("api03-", "admin01-") + m.draw(URL64, 93)
                               + "AA",
    "openai-key": lambda m: m.pick(
        "sk" + "-" + m.draw(ALNUM, 20) + "T3Blbk" + "FJ" + m.draw(ALNUM, 20),
        "sk" + "-proj-" + m.draw(URL64, 74) + "T3Blbk" + "FJ" + m.draw(URL64, 74),
        "sk" + "-proj-" + m.draw(ALNUM, 48),
        "sk" + "-svcacct-" + m.draw(URL64, 40, 130),
        "sk" + "-" + m.draw(ALNUM, 48),
    ),
    "huggingface-token": lambda m: "h" + "f_" + m.draw(ALNUM, 34),
    "groq-key": lambda m: "gs" + "k_" + m.draw(ALNUM, 52),
    "xai-key": lambda m: "xa" + "i-" + m.draw(ALNUM, 80),
    "slack-token": lambda m: m.pick(
        f"xox{m.pick(*'bpar')}-" + "-".join(m.draw("0123456789", 12) for _ in range(2))
        + "-" + m.draw(ALNUM, 24),
        "xox" + "p-" + "-".join(m.draw("0123456789", 12) for _ in range(3)) + "-" + m.draw(HEX, 32),
        "xa" + "pp-1-A" + m.draw(CAPS, 10) + "-" + m.draw("0123456789", 13) + "-" + m.draw(HEX, 64),
    ),
    "slack-webhook": lambda m: "https://hooks" + ".slack.com/services/T" + m.draw(CAPS, 8, 10)
                               + "/B" + m.draw(CAPS, 8, 10) + "/" + m.draw(ALNUM, 24),
    "discord-webhook": lambda m: "https://discord.com/api/" + "webhooks/"
                                 + m.draw("123456789", 18) + "/" + m.draw(URL64, 68),
    "telegram-token": lambda m: m.draw("123456789", 8, 10) + ":A" + "A" + m.draw(URL64, 33),
    "twilio-key": lambda m: "S" + "K" + m.draw(HEX, 32),
    "sendgrid-key": lambda m: "S" + "G." + m.draw(URL64, 22) + "." + m.draw(URL64, 43),
    "stripe-key": lambda m: m.pick("sk", "rk") + "_li" + "ve_" + m.draw(ALNUM, 24, 99),
    "shopify-token": lambda m: m.pick("shpat", "shpss") + "_" + m.draw(HEX, 32),
    "private-key": lambda m: m.key_block(m.pick("", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED ",
                                                "DSA ", "PGP ")),
    "age-key": lambda m: "AGE-SECRET" + "-KEY-1" + m.draw(CAPS, 58),
}  # fmt: skip

#: Certain only as the value of a name that says what it is.
ASSIGNED: dict[str, tuple[tuple[str, ...], Callable[[Maker], str]]] = {
    "aws-secret-key": (
        ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "SecretAccessKey", "aws secret key"),
        lambda m: m.draw(BASE64, 40),
    ),
    "azure-storage-key": (
        ("AccountKey", "AZURE_STORAGE_KEY", "account_key"),
        lambda m: m.draw(BASE64, 86) + "==",
    ),
}

#: Suspicions: no shape, only a name.
NAMED = (
    "password", "db_password", "POSTGRES_PASSWORD", "API_KEY", "apiKey", "api-key", "SECRET_TOKEN",
    "secret", "client_secret", "auth_token", "accessToken", "passphrase", "credentials",
    "DB_PASS", "signing_key", "SECRET_KEY_BASE",
)  # fmt: skip


def weak_value(m: Maker) -> str:
    """What generators of passwords and keys give out."""
    symbols = ALNUM + "!@#$%^&*-_+="
    return m.pick(
        m.draw(ALNUM, 16, 40),
        m.draw(string.ascii_lowercase + string.digits, 16, 32),
        m.draw(symbols, 14, 24),
        m.draw(HEX, 32, 64),
        m.draw(BASE64, 32, 44) + "=",
    )


PROSE = (
    "Use {} for the staging cluster.",
    "The old key was {}, Jun revoked it.\nAsk him for the next one.",
    "Deployed at noon. Key: {}",
    "見つけた鍵は {} です。\n",
    "- `{}` goes into the header (see [[deploy_steps]])",
    '"{}"',
    "curl -H 'X-Auth: {}' https://api.internal.example.org/v1",
)
YAML = (
    "service:\n  name: broker\n  value: {}\n  retries: 3\n",
    'value: "{}"\n',
    "env:\n  - name: VALUE\n    value: '{}'\n",
    "---\ntitle: broker\nsource: {}\n---\nbody\n",
)
CODE = (
    'client = Client("{}", timeout=30)\n',
    "const value = '{}';\n",
    "export VALUE={}\n",
    '{{"value": "{}", "n": 1}}\n',
    'headers = {{"X": f"{}"}}  # noqa\n',
    "x = `{}`\n",
)
#: Texts with a name and its value.
ASSIGNING = (
    "{name}: {value}\n",
    '{name}: "{value}"\n',
    "{name} = '{value}'\n",
    "{name}={value}\n",
    'export {name}="{value}"\n',
    '{{"{name}": "{value}", "n": 1}}\n',
    '    "{name}": "{value}",\n',
    'const {name} = "{value}";\n',
    "{name} := `{value}`\n",
    '{name}: str = "{value}"\n',
    "'{name}' => '{value}',\n",
    "The {name} is {value}\n",
    "- **{name}:** `{value}`\n",
    "| {name} | {value} |\n",
)
TEXTS = PROSE + YAML + CODE
