"""Secrets are cut by value and by shape, and nothing else is."""

import base64
import hashlib
import json
import random
import string
import uuid

import pytest

from agent.redaction import redact, secret_values, without_shapes

CHANCE = random.Random(7)


def some(length, alphabet=string.ascii_letters + string.digits):
    """As keys are: of all kinds of characters, put together here so that no scanner takes this file for a leak."""
    return "aZ9" + "".join(CHANCE.choices(alphabet, k=length - 3))


def b64url(data):
    return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")


BODY = "\n".join(some(64) for _ in range(20))
SECRETS = {
    "anthropic": f"sk-ant-api03-{some(90)}-{some(6)}AA",
    "openai": f"sk-{some(48)}",
    "openai of a project": f"sk-proj-{some(100)}_{some(40)}",
    "openrouter": f"sk-or-v1-{hashlib.sha256(b'x').hexdigest()}",
    "google": f"AIza{some(35)}",
    "google oauth": f"ya29.{some(120)}",
    "hugging face": f"hf_{some(34)}",
    "github": f"ghp_{some(36)}",
    "github app": f"ghs_{some(36)}",
    "github fine-grained": f"github_pat_{some(22)}_{some(59)}",
    "gitlab": f"glpat-{some(20)}",
    "npm": f"npm_{some(36)}",
    "pypi": f"pypi-AgEIcHlwaS5vcmc{some(120)}",
    "aws id": "AKIA" + "".join(CHANCE.choices(string.ascii_uppercase + string.digits, k=16)),
    "stripe": f"sk_live_{some(24)}",
    "slack": f"xoxb-1234567890-1234567890123-{some(24)}",
    "jwt": f"{b64url({'alg': 'HS256'})}.{b64url({'sub': '1234567890'})}.{some(43)}",
    "pem": f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n-----END RSA PRIVATE KEY-----",
    "pem in json": f"-----BEGIN PRIVATE KEY-----\\n{some(64)}\\n{some(20)}\\n-----END PRIVATE KEY-----",
    "torn pem": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{BODY}",
}
IN_PLACE = {
    "aws key": ("aws_secret_access_key = ", some(40)),
    "aws key in json": ('"AWS_SECRET_ACCESS_KEY": "', some(40)),
    "basic": ("Authorization: Basic ", base64.b64encode(b"someone:pass").decode()),
    "bearer": ("authorization: Bearer ", "0123abcd"),
    "bearer in code": ('{"Authorization": "Bearer ', some(30)),
    "bearer alone": ("curl -H Bearer ", some(30)),
    "api key": ("x-api-key: ", some(32)),
    "google's header": ("X-Goog-Api-Key: ", some(32)),
    "url": ("https://someone:", "hunter2"),
    "database": ("postgres://admin:", "p%40ss"),
    "query": ("https://host/path?a=1&access_token=", some(24)),
    "slack hook": ("https://hooks.slack.com/services/", f"T0ABC/B0DEF/{some(24)}"),
}


@pytest.mark.parametrize("kind", SECRETS)
def test_a_key_of_a_known_shape_is_cut_wherever_it_stands(kind):
    secret = SECRETS[kind]
    for before, after in (("", ""), ("key=", " and more"), ('{"key": "', '"}'), ("\n", "\n"), ("(", ")")):
        assert without_shapes(before + secret + after) == f"{before}[secret]{after}"


@pytest.mark.parametrize("kind", IN_PLACE)
def test_what_stands_where_a_secret_stands_is_cut_and_the_place_is_told(kind):
    before, secret = IN_PLACE[kind]
    after = "@host/db" if "://" in before and before.endswith(":") else '"'
    assert without_shapes(before + secret + after) == f"{before}[secret]{after}"


def test_nested_data_is_cleaned_with_its_keys():
    key = SECRETS["github"]
    assert without_shapes({"a": [key, 3, None], key: ("x", key)}) == {
        "a": ["[secret]", 3, None],
        "[secret]": ["x", "[secret]"],
    }


HONEST = [
    "commit 8a1f0c9d4b7e6f5a3c2d1e0f9a8b7c6d5e4f3a2b (HEAD -> main)",
    "sha256:" + hashlib.sha256(b"a").hexdigest(),
    "sha512-" + base64.b64encode(hashlib.sha512(b"a").digest()).decode(),
    str(uuid.UUID(int=0x1234567890ABCDEF1234567890ABCDEF)),
    "tests/test_x.py::TestA::test_b[sk-learn-with-a-long-name-of-parameter-1]",
    "#sk-container-id-1 div.sk-toggleable__content.fitted pre { color: black }",
    "https://example.org:8080/a/b@2x.png and http://localhost:8000/@scope/name",
    "git@github.com:owner/name.git, ssh://git@host:22/x",
    "a basic understanding of authorization: none is needed; the bearer of this token",
    "Basic authentication_is_not_supported, authorization: required",
    'headers = {"Authorization": authorization_header, "X-Api-Key": api_key_of_user}',
    "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    'eyJ is how base64 of {" begins; a.b.c',
    "index 3f2a1b..9c8d7e 100644",
    "def key(token: str = password) -> token: return secrets.token_hex(20)",
    "AKIA, ASIA and AKIA-1 are prefixes",
    "/search?key=name&token=abc",
]


@pytest.mark.parametrize("text", HONEST)
def test_hashes_code_and_prose_are_left_alone(text):
    assert without_shapes(text) == text


def test_no_hexadecimal_text_is_cut():
    for _ in range(2000):
        text = "".join(CHANCE.choices("0123456789abcdef", k=CHANCE.randrange(7, 130)))
        assert without_shapes(f"{text} {text.upper()}") == f"{text} {text.upper()}"


def test_text_made_to_be_slow_is_read_in_time_that_grows_with_it():
    """Counted in steps of the text's size, not in time: a pattern that reads it again and again would not end here."""
    for piece in (
        "sk-",
        "sk-aA1",
        "eyJ",
        "eyJaaaaaaaa.",
        "://a:",
        "-----BEGIN PRIVATE KEY-----",
        "bearer ",
        "a" * 9,
    ):
        text = piece * (400_000 // len(piece))
        assert len(without_shapes(text)) <= len(text) + len("[secret]")


def test_redaction_takes_the_longest_secret_first():
    secrets = secret_values({"A_TOKEN": "abcdefg1", "B_TOKEN": "abcdefg1-longer"})
    assert redact("x abcdefg1-longer y", secrets) == "x [secret] y"


def test_words_and_paths_that_are_called_secrets_are_not_cut_out_of_code():
    assert secret_values({"DB_PASSWORD": "postgres", "SSH_KEY_FILE": "/home/Me/.ssh/id_ed25519"}) == []
    assert redact({"accepted": "x"}, ["accepted"]) == {"accepted": "x"}
