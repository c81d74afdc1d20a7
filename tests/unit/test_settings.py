"""Settings: which value holds, where it came from, and what is refused, by its place."""

from __future__ import annotations

import pytest

from perimortem.config.keys import KEYS
from perimortem.config.resolve import resolve
from perimortem.errors import UsageError


@pytest.fixture()
def layers(tmp_path):
    """A system's directory, a user's and a file of --config, each with its own grace."""
    system = tmp_path / "etc"
    (system / "conf.d").mkdir(parents=True)
    user = tmp_path / "home" / "perimortem"
    user.mkdir(parents=True)
    files = {
        "system": system / "config.toml",
        "first": system / "conf.d" / "10-a.toml",
        "second": system / "conf.d" / "20-b.toml",
        "user": user / "config.toml",
        "config": tmp_path / "given.toml",
    }

    def get(flags=None, config=None, **environment):
        return resolve(
            flags or {}, config, system_directory=system,
            environment={"XDG_CONFIG_HOME": str(tmp_path / "home"), **environment},
        )  # fmt: skip

    return files, get


def test_each_layer_goes_before_the_one_below(layers):
    files, get = layers
    assert get().values["grace"].origin == "default"
    for number, name in enumerate(("system", "first", "second", "user", "config"), 1):
        files[name].write_text(f"\ngrace = {number}\n")
        config = files["config"] if name == "config" else None
        value = get(config=config).values["grace"]
        assert (value.value, value.origin) == (number, f"{files[name]}:2")
    value = get(config=files["config"], PERIMORTEM_GRACE="7").values["grace"]
    assert (value.value, value.origin) == (7, "PERIMORTEM_GRACE")
    value = get({"grace": 8.0}, files["config"], PERIMORTEM_GRACE="7").values["grace"]
    assert (value.value, value.origin) == (8, "--grace")
    assert get(PERIMORTEM_CONFIG=str(files["config"]))["grace"] == 5


def test_thresholds_are_merged_by_heartbeat(layers):
    files, get = layers
    files["system"].write_text("[threshold]\ndefault = 30\nrender = 0.5\n")
    resolved = get({"threshold": {"load": 99.0}}, PERIMORTEM_THRESHOLD="render=2")
    assert resolved.thresholds() == {"": 30, "render": 2, "load": 99}
    assert resolved.values["threshold"].origin.endswith("config.toml:2")
    assert resolved.values["threshold.render"].origin == "PERIMORTEM_THRESHOLD"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("grace = 1\ngrcae = 2\n", "config.toml:2: there is no setting 'grcae'"),
        ("\n\non-hang = 'explode'\n", "config.toml:3: on-hang must be report or abort or kill"),
        ("threshold = -1", "config.toml:1: threshold must be a number of seconds from 0.01"),
        ("threshold = true", "must be a number"),
        ("[threshold]\nrender = 'x'", "config.toml:1: threshold must be"),
        (
            "beat-from = ['sd-notify', 'moon']",
            "must be agent, progress, sd-notify, output, window or file",
        ),
        ("agent = 'perhaps'", "must be true or false"),
        ("data-dir = 'here'", "must be an absolute path"),
        ("grace = ", "is not valid TOML"),
        ("a = {" * 5000, "is not valid TOML"),
        ("dump-type = '0xNOPE'", "must be none, mini, miniplus, triage, full"),
        ("threshold = 1" + "0" * 400, "must be a number of seconds"),
        ("grace = 1" + "0" * 5000, "is not valid TOML"),
    ],
)
def test_what_is_wrong_is_refused_by_file_and_line(layers, text, words):
    files, get = layers
    files["user"].write_text(text)
    with pytest.raises(UsageError) as caught:
        get()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_variable_is_refused_by_its_name(layers):
    _, get = layers
    with pytest.raises(UsageError, match="PERIMORTEM_FOLLOW must be true or false"):
        get(PERIMORTEM_FOLLOW="maybe")
    assert get(PERIMORTEM_FOLLOW="no", PERIMORTEM_GRACE="")["follow"] is False


def test_a_mask_may_be_a_number(layers):
    files, get = layers
    files["user"].write_text("dump-type = 0x1105")
    assert get()["dump-type"] == "0x1105"


def test_a_file_that_cannot_be_read_is_named(layers, tmp_path):
    _, get = layers
    with pytest.raises(UsageError, match="cannot read the settings"):
        get(config=tmp_path / "nowhere.toml")
    (tmp_path / "noise.toml").write_bytes(bytes(range(256)))
    with pytest.raises(UsageError, match=r"noise\.toml"):
        get(config=tmp_path / "noise.toml")


def test_every_default_is_a_value_that_may_be_given():
    for key in KEYS.values():
        if key.default is not None:
            assert key.read(key.default) == key.default
