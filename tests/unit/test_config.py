"""Settings: which source wins, and what each refuses."""

from __future__ import annotations

import contextlib
import json
import pickle
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.adapters.files.secret_file import Secret, SecretFileError, read_secret_file
from anya_actors.config import SettingsError, load_settings

HOME = {"XDG_DATA_HOME": "/data", "XDG_CONFIG_HOME": "/nowhere"}


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "some.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_any_source_the_platform_is_a_laptops() -> None:
    settings = load_settings(environ=HOME)
    assert settings.data_dir == Path("/data/anya")
    assert (settings.api.host, settings.api.port) == ("127.0.0.1", 8000)
    assert settings.bitcoin.embedded
    assert settings.store.kind == "rocksdb"
    assert settings.passphrase_file == Path("/data/anya/hsm/passphrase")


def test_the_file_is_beaten_by_the_environment_and_that_by_the_command_line(tmp_path: Path) -> None:
    path = toml(tmp_path, "[api]\nport = 1\nhost = '::1'\nreplicas = 3\n")
    environ = HOME | {"ANYA_API_PORT": "2", "ANYA_API_REPLICAS": "4"}
    settings = load_settings(config_file=path, environ=environ, flags={"api.port": 3, "api.replicas": None})
    assert (settings.api.host, settings.api.port, settings.api.replicas) == ("::1", 3, 4)


def test_anya_toml_in_the_working_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / "anya.toml").write_text("[log]\nlevel = 'debug'\n")
    assert load_settings(environ=HOME).log.level == "debug"


def test_a_path_in_a_file_is_meant_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    path = toml(tmp_path / "there", "data_dir = 'data'\n[hsm]\npassphrase_file = 'secret'\n")
    settings = load_settings(config_file=path, environ=HOME)
    assert settings.data_dir == tmp_path / "there" / "data"
    assert settings.passphrase_file == tmp_path / "there" / "secret"


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("[api]\nprot = 1\n", "api.prot", "did you mean api.port?"),
        ("[apis]\nport = 1\n", "apis", "no such key"),
        ("port = 1\n", "port", "no such key"),
        ("api = 1\n", "api", "it is a section"),
        ("[api]\nport = '1'\n", "api.port", "Expected `int`"),
        ("[api]\nport = 65536\n", "api.port", "<= 65535"),
        ("[api]\nport = true\n", "api.port", "Expected `int`"),
        ("[supervision]\nhealth_interval_s = 0\n", "supervision.health_interval_s", "> 0"),
        ("[bitcoin]\nnetwork = 'moonnet'\n", "bitcoin.network", "moonnet"),
        ("[api]\nport = \n", "the file", "line 2"),
    ],
)
def test_what_a_file_may_not_say_is_refused_by_name(tmp_path: Path, text: str, key: str, reason: str) -> None:
    path = toml(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load_settings(config_file=path, environ=HOME)
    assert caught.value.args[:2] == (str(path), key)
    assert reason in caught.value.args[2]


def test_a_file_that_is_named_and_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load_settings(environ=HOME | {"ANYA_CONFIG": str(tmp_path / "none.toml")})


@pytest.mark.parametrize("name", ["ANYA_API_PRT", "ANYA_PORT", "ANYA_"])
def test_a_misspelt_variable_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load_settings(environ=HOME | {name: "1"})


@pytest.mark.parametrize("name", ["ANYA_VECTORS", "ANYA_INSTANCE", "ANYA_TEST_ANYTHING", "OTHER"])
def test_variables_that_are_no_settings_are_left_alone(name: str) -> None:
    load_settings(environ=HOME | {name: "1"})


def test_a_variable_of_the_wrong_type_is_named() -> None:
    with pytest.raises(SettingsError, match=r"ANYA_API_PORT: api\.port .* Expected `int`"):
        load_settings(environ=HOME | {"ANYA_API_PORT": "eighty"})


@pytest.mark.parametrize(
    ("flags", "key"),
    [
        ({"bitcoin.network": "mainnet"}, "bitcoin.network"),
        ({"bitcoin.node_url": "ftp://node"}, "bitcoin.node_url"),
        ({"bitcoin.node_url": "http://alice:secret@node:8332"}, "bitcoin.node_url"),
        ({"bitcoin.node_cookie_file": "cookie"}, "bitcoin.node_cookie_file"),
        ({"bitcoin.node_url": "http://node", "bitcoin.node_user": "alice"}, "bitcoin.node_user"),
        ({"api.tls_key_file": "key.pem"}, "api.tls_key_file"),
        ({"store.kind": "postgresql"}, "store.kind"),
        ({"hsm.backend": "pkcs11"}, "hsm.backend"),
        ({"hsm.backend": "pkcs11", "hsm.pkcs11_module": "module.so"}, "hsm.pkcs11_module"),
        ({"hsm.pkcs11_pin_file": "pin"}, "hsm.pkcs11_pin_file"),
        ({"hsm.backend": "pkcs11", "hsm.pkcs11_uri": "pkcs11:token=t?pin-value=secret"}, "hsm.pkcs11_uri"),
    ],
)
def test_keys_that_only_work_together_are_refused_alone(flags: dict[str, object], key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ=HOME, flags=flags)
    assert caught.value.args[:2] == ("command line", key)
    assert "secret" not in str(caught.value)


def test_a_token_that_is_described_and_not_chosen_is_refused() -> None:
    flags = {f"hsm.pkcs11_{name}": name for name in ("module", "token", "pin_file")}
    with pytest.raises(SettingsError, match=r"hsm\.backend"):
        load_settings(environ=HOME, flags=flags)
    chosen = load_settings(environ=HOME, flags={**flags, "hsm.backend": "pkcs11"}).hsm
    assert (chosen.backend, chosen.pkcs11_token) == ("pkcs11", "token")


def test_a_node_elsewhere_may_be_of_any_network() -> None:
    flags = {"bitcoin.network": "mainnet", "bitcoin.node_url": "http://node:8332"}
    assert not load_settings(environ=HOME, flags=flags).bitcoin.embedded


def test_the_public_settings_are_plain_json() -> None:
    public = load_settings(environ=HOME).to_public()
    assert json.loads(json.dumps(public))["data_dir"] == "/data/anya"


def test_settings_travel_between_processes() -> None:
    settings = load_settings(environ=HOME)
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_a_secret_is_not_seen() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret!r} {secret} {[secret]}"
    assert secret.reveal() == "hunter2"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [(b"x\n", 0o644, "others may read it"), (b"\n", 0o600, "empty"), (b"\xff", 0o600, "Unicode")],
)
def test_a_secret_file_is_refused(tmp_path: Path, content: bytes, mode: int, reason: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(SecretFileError, match=reason):
        read_secret_file(path)


def test_a_secret_file_gives_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("pass phrase \nnext")
    path.chmod(0o600)
    assert read_secret_file(path).reveal() == "pass phrase"


KEYS = st.sampled_from(["api", "port", "data_dir", "bitcoin", "host", "log", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=4,
)


@given(st.sampled_from(["api.port", "api", "data_dir", "bitcoin.node_url", "log.level", "x"]), VALUES)
def test_any_value_is_taken_or_refused_by_a_settings_error(key: str, value: object) -> None:
    with contextlib.suppress(SettingsError):
        load_settings(environ=HOME, flags={key: value})


@given(st.binary(max_size=60))
def test_any_file_is_read_or_refused_by_a_settings_error(content: bytes) -> None:
    path = Path("fuzzed.toml").absolute()
    path.write_bytes(content)
    with contextlib.suppress(SettingsError):
        load_settings(environ=HOME, config_file=path)


def test_the_page_of_settings_lists_every_key_with_its_default() -> None:
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text("utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    listed = {row[0].strip("|` "): (row[1].strip("`"), row[2].strip("`")) for row in rows}
    settings = load_settings(environ=HOME)
    sections = {key: value for key, value in msgspec.structs.asdict(settings).items() if key != "data_dir"}
    expected = {"data_dir": ("ANYA_DATA_DIR", "see right")}
    for section, values in sections.items():
        for key, value in msgspec.structs.asdict(values).items():
            default = "unset" if value is None else str(value)
            expected[f"{section}.{key}"] = (f"ANYA_{section}_{key}".upper(), default)
    assert listed == expected
