"""Secrets by named patterns: what is redacted, what is left alone, and how long it may take.

Tokens are put together here, so that no scanner of repositories takes them for leaked ones.
"""

import random

import pytest

from perimortem.report.secrets import (
    REDACTED,
    is_secret_name,
    redact_arguments,
    redact_text,
    redact_value,
)

WORD = "hunter" + "2"
LONG = "A1b2C3d4" * 5
JWT = ".".join(
    ("ey" + "JhbGciOiJIUzI1NiJ9", "ey" + "JzdWIiOiIxMjM0NTY3ODkwIn0", "dozjgNryP4J3jVmNHl0w5N")
)
PEM = f"-----BEGIN RSA {'PRIVATE'} KEY-----\n{LONG}\n{LONG}\n-----END RSA {'PRIVATE'} KEY-----"

TEXTS = [
    # (text, what is left of it)
    (f"password={WORD}", "password=[redacted]"),
    (
        f"Server=db;User Id=sa;Password={WORD};Pooling=true",
        "Server=db;User Id=sa;Password=[redacted];Pooling=true",
    ),
    (f"user=me,password={WORD},host=db", "user=me,password=[redacted],host=db"),
    (
        f"login failed (password={WORD}), trying again",
        "login failed (password=[redacted]), trying again",
    ),
    (
        f"DefaultEndpointsProtocol=https;AccountKey={LONG}==;EndpointSuffix=x",
        "DefaultEndpointsProtocol=https;AccountKey=[redacted];EndpointSuffix=x",
    ),
    (f"PGPASSWORD={WORD} psql -h db", "PGPASSWORD=[redacted] psql -h db"),
    (f"export AWS_SECRET_ACCESS_KEY={LONG}", "export AWS_SECRET_ACCESS_KEY=[redacted]"),
    (
        f'{{"password": "{WORD} and more", "user": "me"}}',
        '{"password": "[redacted]", "user": "me"}',
    ),
    (f"{{'api_key': '{WORD}'}}", "{'api_key': '[redacted]'}"),
    (f'{{\\"token\\":\\"{WORD}\\",\\"n\\":1}}', '{\\"token\\":\\"[redacted]\\",\\"n\\":1}'),
    (f"password: {WORD}", "password: [redacted]"),
    (f"X-Api-Key: {LONG}", "X-Api-Key: [redacted]"),
    (f"client_secret => {LONG}", "client_secret => [redacted]"),
    (f"dbPassword = {WORD}", "dbPassword = [redacted]"),
    (f"postgres://app:{WORD}@db:5432/x", "postgres://app:[redacted]@db:5432/x"),
    (f"postgres://app:p@{WORD}@db/x", "postgres://app:[redacted]@db/x"),
    (f"amqp://u:{WORD}/x@mq,amqp://u:{WORD}@mq2", "amqp://u:[redacted]@mq2"),
    (f"redis://:{WORD}@cache:6379/0", "redis://:[redacted]@cache:6379/0"),
    (
        f"GET https://a.example/x?id=7&token={WORD}&n=1",
        "GET https://a.example/x?id=7&token=[redacted]&n=1",
    ),
    (
        f"https://b.example/c?sv=1&sig={WORD}%3D&se=2",
        "https://b.example/c?sv=1&sig=[redacted]&se=2",
    ),
    (
        f"https://s3/x?X-Amz-Date=1&X-Amz-Signature={LONG}",
        "https://s3/x?X-Amz-Date=1&X-Amz-Signature=[redacted]",
    ),
    (
        f"https://s3/x?X-Amz-Security-Token={LONG}&y=1",
        "https://s3/x?X-Amz-Security-Token=[redacted]&y=1",
    ),
    (f"Authorization: Bearer {LONG}", "Authorization: Bearer [redacted]"),
    (f'"Authorization": "Basic {LONG}=="', '"Authorization": "Basic [redacted]"'),
    (f"Authorization: Bearer {LONG} was refused", "Authorization: Bearer [redacted] was refused"),
    (f'Authorization: Digest username="u", response="{LONG}"', "Authorization: Digest [redacted]"),
    (f"sent Bearer {LONG}, got 401", "sent Bearer [redacted], got 401"),
    (f"Cookie: session={WORD}; theme=dark", "Cookie: [redacted]"),
    (
        f"clone https://{'gh' + 'p_' + LONG}@github.com/x",
        "clone https://ghp_[redacted]@github.com/x",
    ),
    ("id " + "AK" + "IA" + "ABCDEFGHIJKLMNOP" + " used", "id AKIA[redacted] used"),
    ("xo" + "xb-123456789012-abcdefghij", "xoxb-[redacted]"),
    ("s" + "k-proj-" + LONG, "sk-[redacted]"),
    ("s" + "k_live_" + LONG, "sk_live_[redacted]"),
    ("AI" + "za" + LONG[:35], "AIza[redacted]"),
    ("gl" + "pat-" + LONG, "glpat-[redacted]"),
    (f"got {JWT} from peer", "got eyJ[redacted] from peer"),
    (PEM, f"-----BEGIN RSA PRIVATE KEY-----{REDACTED}-----END RSA PRIVATE KEY-----"),
    (
        PEM.replace("\n", "\\n"),
        f"-----BEGIN RSA PRIVATE KEY-----{REDACTED}-----END RSA PRIVATE KEY-----",
    ),
    (PEM[:60], f"-----BEGIN RSA PRIVATE KEY-----{REDACTED}"),
]

LEFT_ALONE = [
    "keyboard: us",
    "tokenizer=bpe tokens=512 max_token=4096",
    "token_count=17 token_type=bearer",
    "parse error at token=17",
    "unexpected token: '}'",
    "invalid token: end of file",
    "Assertion `password != NULL' failed",
    "Assertion `token == TOKEN_END' failed.",
    "token = next_token(input)",
    "password: incorrect",
    "password authentication failed for user bob",
    "option --password requires an argument",
    "the secret is missing",
    "primary key=17 foreign_key: 4711 key=value hotkey=F1 monkey=george",
    "std::map<Key, Token>::operator[](Key const&)",
    "author=alice authority: example compass=north bypass=1 passive: true",
    "pass=17 fail=2",
    "PWD=/work/here OLDPWD=/",
    "--password-file=/run/secrets/db --token-file /x --ask-password",
    "password=$DB_PASSWORD token=${TOKEN} secret=%SECRET% password=<unset> token=(null)",
    "token=0x7f12ab34cd",
    "GOOGLE_APPLICATION_CREDENTIALS=/etc/gcp/account.json",
    "private_key=/etc/ssl/private/server.pem",
    "https://user@host/path http://host:8080/x@y http://[::1]:80/a@b mailto:a@b.example",
    "http://a.example/?id=1&signature_version=4",
    "signature: Scene::update | Engine::tick",
    "sig=11 code=1",
    "ended by SIGSEGV (segmentation fault)",
    "bearer authentication failed",
    "Authorization: required",
    "build-id 8f1c2d3e4f5061728394a5b6c7d8e9f001122334",
    "task-queue-worker-17-of-the-pool sk-learn-contrib-something disk-image-x",
    "no -----BEGIN PRIVATE KEY----- line in the file",
    "2026-11-28T12:00:00.000000Z",
    "monotonic clock: secret sauce",
    "auth=kerberos author: bob",
    "password:",
    "token=",
    "",
]


@pytest.mark.parametrize(("text", "left"), TEXTS)
def test_a_secret_is_redacted_and_its_name_stays(text, left):
    assert redact_text(text) == left
    assert redact_text(left) == left, "what is redacted stays as it is"
    shown = redact_text(f"before it\n{text}\nafter it")
    assert shown.startswith("before it\n"), shown
    assert WORD not in shown
    assert LONG not in shown


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_only_resembles_a_secret_is_left_alone(text):
    assert redact_text(text) == text


ARGUMENTS = [
    (["--password", WORD, "-v"], ["--password", REDACTED, "-v"]),
    (["-password", "-odd-1"], ["-password", REDACTED]),
    (["--token", "plainword"], ["--token", REDACTED]),
    ([f"--token={WORD} with spaces, and=more"], [f"--token={REDACTED}"]),
    ([f"--db.password={WORD}&x"], [f"--db.password={REDACTED}"]),
    (["env", f"GITHUB_TOKEN={WORD}", "make"], ["env", f"GITHUB_TOKEN={REDACTED}", "make"]),
    (["sqlcmd", f"/password:{WORD}"], ["sqlcmd", f"/password:{REDACTED}"]),
    (
        ["sh", "-c", f"mysql --password=x{WORD} -h db"],
        ["sh", "-c", f"mysql --password={REDACTED} -h db"],
    ),
    (
        ["sh", "-c", "mysql --password plainword -h db"],
        ["sh", "-c", f"mysql --password {REDACTED} -h db"],
    ),
    (
        ["sh", "-c", "TOKEN=plainword exec ./run --all"],
        ["sh", "-c", f"TOKEN={REDACTED} exec ./run --all"],
    ),
    (["curl", "-H", f"X-Auth-Token: {WORD}"], ["curl", "-H", f"X-Auth-Token: {REDACTED}"]),
    (
        ["curl", "-H", f"Authorization: Bearer {WORD}"],
        ["curl", "-H", f"Authorization: Bearer {REDACTED}"],
    ),
    (["curl", f"https://u:{WORD}@host/"], ["curl", f"https://u:{REDACTED}@host/"]),
    (["redis-server", "--requirepass", "plainword"], ["redis-server", "--requirepass", REDACTED]),
    (["helm", "--set", "db.password=plain word"], ["helm", "--set", f"db.password={REDACTED}"]),
    (
        ["kubectl", "--from-literal=password=plain"],
        ["kubectl", f"--from-literal=password={REDACTED}"],
    ),
    (
        ["docker", "-e", "MYSQL_ROOT_PASSWORD=plain"],
        ["docker", "-e", f"MYSQL_ROOT_PASSWORD={REDACTED}"],
    ),
    (["openssl", "-passin", f"pass:{WORD}"], ["openssl", "-passin", REDACTED]),
]

ARGUMENTS_LEFT = [
    ["--token", "--verbose"],
    ["--password", "-v"],
    ["--ask-password", "db"],
    ["--no-token", "x"],
    ["--tokenizer", "bpe"],
    ["--password-file", "/run/secrets/db"],
    ["--private-key", "/etc/ssl/server.key"],
    ["--key", "name"],
    ["--max-token", "512"],
    ["--keyboard", "us"],
    ["/usr/bin/pass"],
    ["--password"],
    [],
]


@pytest.mark.parametrize(("words", "left"), ARGUMENTS)
def test_a_command_line_keeps_its_options(words, left):
    assert redact_arguments(words) == left
    assert redact_arguments(left) == left


@pytest.mark.parametrize("words", ARGUMENTS_LEFT)
def test_a_command_line_without_secrets_is_left_alone(words):
    assert redact_arguments(words) == words


def test_names_are_judged_by_their_last_word():
    secret = "PASSWORD dbPassword db.passwd authToken access-token API_KEY apiKey X-Auth-Token"
    assert [name for name in secret.split() if not is_secret_name(name)] == []
    other = "PASSWORD_FILE passwordLength keyboard key tokens tokenizer author no-password PWD -"
    assert [name for name in other.split() if is_secret_name(name)] == []


def test_values_of_documents_are_judged_by_their_names():
    assert redact_value("password", "plainword") == REDACTED
    assert redact_value("password", REDACTED) == REDACTED
    assert redact_value("token", "17") == "17"
    assert redact_value("text", f"password={WORD}") == f"password={REDACTED}"


PIECES = [
    "password",
    "token",
    "key",
    "secret",
    "=",
    ":",
    '"',
    "'",
    "\\",
    " ",
    "://",
    "@",
    "a",
    "/",
    "?",
    "&",
    ",",
    ";",
    "(",
    ")",
    "-----BEGIN PRIVATE KEY-----",
    "-----END ",
    "eyJ",
    ".",
    "-",
    "Bearer ",
    "Authorization: ",
    "\n",
    REDACTED,
    "xo" + "xb-",
    "gh" + "p_",
    LONG,
    "7",
    "--",
    "Cookie: ",
]


@pytest.mark.parametrize("seed", range(20))
def test_any_text_is_redacted_once_and_for_all(seed):
    """Of a report that is stored redacted, nothing changes when it is shown."""
    rng = random.Random(seed)
    for _ in range(300):
        text = "".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 14)))
        once = redact_text(text)
        assert redact_text(once) == once, text
        words = ["x" + text, "--password", text]
        first = redact_arguments(words)
        assert redact_arguments(first) == first, text


HOSTILE = [
    "password=",
    "token=(",
    "key=",
    "key ",
    "password ",
    "://",
    "x://a:b",
    "://a:b@",
    "eyJ",
    "-eyJ",
    "eyJa.eyJ",
    "xo" + "xb-",
    "s" + "k-",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----AAAAAAAAAAAAAAAA",
    "Authorization: ",
    "bearer ",
    "cookie:",
    '"password": "',
    "password=$",
    "'token': '",
    "\\",
    '"',
    "a",
    ",a=",
    'password\\\\\\"',
    "--token ",
    "token=null ",
    "hv" + "s.",
    "S" + "G.",
    "password:=",
    "A" * 63 + "key=",
    "token = f(",
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", HOSTILE)
def test_half_a_megabyte_of_anything_is_done_soon(piece):
    """Work that grew with the square of the length would not end within the time limit of a test."""
    text = piece * ((512 << 10) // len(piece))
    assert redact_text(text) is not None
    assert redact_arguments(["--x", text, "--password", text])[-1] == REDACTED
