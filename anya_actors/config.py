"""Settings of one platform: frozen, checked, and read from the outside here alone.

Later sources win: defaults, then ``anya.toml``, then ``ANYA_*`` variables, then command-line
flags. A key ``port`` of section ``api`` is ``[api] port = …`` in the file, ``ANYA_API_PORT`` in the
environment and ``"api.port"`` among the flags. A key that nobody knows is an error, never ignored:
a misspelt limit that silently stays at its default is found too late.
"""

from __future__ import annotations

import difflib
import os
import tomllib
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn
from urllib.parse import urlsplit

import msgspec

from anya_actors.domain.keys.pkcs11_uri import parse_token_uri
from anya_actors.domain.machine import AnyaError, InvalidInputError

FILE_NAME: Final = "anya.toml"

# Variables of ours that are no settings: which file to read, which instance a process belongs to,
# and where the tests find their vectors.
_NOT_SETTINGS: Final = frozenset({"ANYA_CONFIG", "ANYA_INSTANCE", "ANYA_VECTORS"})
_NOT_SETTINGS_PREFIX: Final = "ANYA_TEST_"

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class SettingsError(AnyaError):
    """A setting that cannot be used. Names the source, the key and what is wrong with it."""

    code = "invalid-settings"
    message = "{}: {} is not a usable setting: {}"
    remedy = "Correct or remove it; docs/settings.md lists every key with its default."

    def __init__(self, source: str, key: str, reason: str) -> None:
        super().__init__(source, key, reason)


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of ``anya.toml``."""


class ApiSettings(_Section, frozen=True, kw_only=True):
    """The HTTP door. Port 0 takes a free one. Both TLS files together turn TLS on."""

    host: str = "127.0.0.1"
    port: Port = 8000
    transit_port: Port = 0
    replicas: Positive = 1
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    max_body_bytes: Positive = 1024 * 1024
    max_in_flight: Positive = 256


class BitcoinSettings(_Section, frozen=True, kw_only=True):
    """The Bitcoin node. Without ``node_url`` the embedded regtest node runs."""

    network: Literal["regtest", "signet", "testnet4", "mainnet"] = "regtest"
    node_url: str | None = None
    node_cookie_file: Path | None = None
    node_user: str | None = None
    node_password_file: Path | None = None
    rpc_port: Port = 0
    esplora_port: Port = 0
    electrum_port: Port = 0
    zmq_port: Port = 0
    poll_interval_s: Seconds = 0.5
    final_confirmations: Positive = 6
    max_fee_sat: Positive | None = None
    fallback_feerate_sat_per_vb: Positive | None = None

    @property
    def embedded(self) -> bool:
        """Whether the platform runs its own node."""
        return self.node_url is None


class HsmSettings(_Section, frozen=True, kw_only=True):
    """The software HSM. ``passphrase_file`` is ``<data_dir>/hsm/passphrase`` unless it is set; with
    ``share_directory`` the passphrase is joined from shares instead and no such file is read or made.

    The Argon2id cost is paid once at each unsealing (RFC 9106; 256 MiB, 3 passes: about 1 s). With
    ``backend`` ``pkcs11`` the keys of users lie in a token, and none of them in software.
    """

    backend: Literal["software", "pkcs11"] = "software"
    pkcs11_module: Path | None = None
    pkcs11_token: str | None = None
    pkcs11_pin_file: Path | None = None
    pkcs11_uri: str | None = None
    passphrase_file: Path | None = None
    share_directory: Path | None = None
    argon2_memory_kib: Annotated[int, msgspec.Meta(ge=19 * 1024, le=4 * 1024 * 1024)] = 256 * 1024
    argon2_passes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 3
    argon2_lanes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    session_idle_timeout_s: Seconds = 900
    session_absolute_timeout_s: Seconds = 86_400
    max_sessions: Positive = 32
    auto_seal_after_s: Seconds | None = None
    warm_sessions: Annotated[int, msgspec.Meta(ge=0, le=64)] = 2


class StoreSettings(_Section, frozen=True, kw_only=True):
    """Where durable actors keep their state. ``dsn_file`` holds PostgreSQL's connection string."""

    kind: Literal["rocksdb", "postgresql"] = "rocksdb"
    dsn_file: Path | None = None


class RaySettings(_Section, frozen=True, kw_only=True):
    """Ray itself. ``address`` is ``local`` or the address of a running cluster."""

    address: str = "local"
    num_cpus: Positive | None = None
    object_store_bytes: Annotated[int, msgspec.Meta(ge=80 * 1024 * 1024)] = 200 * 1024 * 1024


class SupervisionSettings(_Section, frozen=True, kw_only=True):
    """How actors are watched. More than ``max_restarts`` in ``restart_period_s`` escalate."""

    health_interval_s: Seconds = 5.0
    health_timeout_s: Seconds = 10.0
    max_restarts: Positive = 10
    restart_period_s: Seconds = 60.0
    mailbox_limit: Positive = 1_000
    start_timeout_s: Seconds = 60.0
    stop_timeout_s: Seconds = 10.0


class LogSettings(_Section, frozen=True, kw_only=True):
    """What is logged, and whether for people (``text``) or for programs (``json``)."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Settings(_Section, frozen=True, kw_only=True):
    """Everything one platform can be told. Made by `load_settings`."""

    data_dir: Path
    api: ApiSettings = ApiSettings()
    bitcoin: BitcoinSettings = BitcoinSettings()
    hsm: HsmSettings = HsmSettings()
    store: StoreSettings = StoreSettings()
    ray: RaySettings = RaySettings()
    supervision: SupervisionSettings = SupervisionSettings()
    log: LogSettings = LogSettings()

    @property
    def run_dir(self) -> Path:
        """Files that are true only while the platform runs: lock, addresses, tokens."""
        return self.data_dir / "run"

    @property
    def state_dir(self) -> Path:
        """The stores of the durable actors."""
        return self.data_dir / "state"

    @property
    def log_dir(self) -> Path:
        """The logs of the last run."""
        return self.data_dir / "log"

    @property
    def passphrase_file(self) -> Path:
        """The file that unseals the HSM."""
        return self.hsm.passphrase_file or self.data_dir / "hsm" / "passphrase"

    @property
    def shares_beside(self) -> Path:
        """Where shares of the passphrase are looked for while that file is not there."""
        return self.passphrase_file.with_name("shares")

    def to_public(self) -> dict[str, Any]:
        """Every setting, for ``GET /api/v1/system``. Secrets are files: only their paths show."""
        public: dict[str, Any] = msgspec.to_builtins(self, enc_hook=str)
        return public


def load_settings(
    *,
    flags: Mapping[str, object] | None = None,
    config_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read every source, the last one winning; raises `SettingsError`.

    ``flags`` are dotted keys (``{"api.port": 0}``); a value of None is a flag not given.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, object] = {"data_dir": _default_data_dir(environ)}
    sources = dict.fromkeys(_KEYS, "defaults")
    path = _config_file(config_file, environ)
    for source, key, raw, strict in (
        *(_read_file(path) if path else ()),
        *_read_environment(environ),
        *(("command line", key, raw, False) for key, raw in (flags or {}).items() if raw is not None),
    ):
        values[key] = _convert(source, key, raw, strict=strict)
        sources[key] = source
    _check_together(values, sources)
    return _assemble(values)


def _fields() -> dict[str, Any]:
    """Every dotted key and its type."""
    keys: dict[str, Any] = {}
    for name, kind in typing.get_type_hints(Settings, include_extras=True).items():
        if isinstance(kind, type) and issubclass(kind, _Section):
            inner = typing.get_type_hints(kind, include_extras=True)
            keys.update({f"{name}.{key}": hint for key, hint in inner.items()})
        else:
            keys[name] = kind
    return keys


_KEYS: Final[Mapping[str, Any]] = _fields()
_SECTIONS: Final = frozenset(key.split(".")[0] for key in _KEYS if "." in key)
_VARIABLES: Final[Mapping[str, str]] = {f"ANYA_{key.replace('.', '_').upper()}": key for key in _KEYS}


def _default_data_dir(environ: Mapping[str, str]) -> Path:
    share = environ.get("XDG_DATA_HOME")
    return (Path(share) if share else Path.home() / ".local" / "share") / "anya"


def _config_file(given: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = given or (Path(environ["ANYA_CONFIG"]) if environ.get("ANYA_CONFIG") else None)
    if named is not None:
        return named.expanduser()
    config_home = environ.get("XDG_CONFIG_HOME")
    home = Path(config_home) if config_home else Path.home() / ".config"
    found = (path for path in (Path(FILE_NAME), home / "anya" / FILE_NAME) if path.is_file())
    return next(found, None)


def _read_file(path: Path) -> Iterator[tuple[str, str, object, bool]]:
    source = str(path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(source, "the file", error.strerror or "it cannot be read") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(source, "the file", str(error)) from None
    for name, value in document.items():
        if name not in _SECTIONS:
            yield source, name, _beside(path, name, value), True
        elif not isinstance(value, dict):
            raise SettingsError(source, name, f"it is a section, written [{name}]")
        else:
            for key, inner in value.items():
                dotted = f"{name}.{key}"
                yield source, dotted, _beside(path, dotted, inner), True


def _beside(path: Path, key: str, value: object) -> object:
    """A relative path in a file is meant relative to that file, not to where anya was started."""
    if isinstance(value, str) and _is_path(_KEYS.get(key)):
        return str(path.parent / Path(value).expanduser())
    return value


def _is_path(kind: Any) -> bool:
    return kind is Path or Path in typing.get_args(kind)


def _read_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, str, object, bool]]:
    for name in sorted(environ):
        if not name.startswith("ANYA_") or name in _NOT_SETTINGS or name.startswith(_NOT_SETTINGS_PREFIX):
            continue
        source = "environment"
        if name not in _VARIABLES:
            raise SettingsError(source, name, _unknown(name, _VARIABLES))
        yield f"environment variable {name}", _VARIABLES[name], environ[name], False


def _convert(source: str, key: str, raw: object, *, strict: bool) -> object:
    if key not in _KEYS:
        raise SettingsError(source, key, _unknown(key, _KEYS))
    try:
        # Anything but a file is text: "8000" is a number there.
        return msgspec.convert(raw, _KEYS[key], strict=strict, dec_hook=_to_path)
    except msgspec.ValidationError as error:
        raise SettingsError(source, key, str(error)) from None


def _to_path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str | Path) and str(value):
        return Path(os.path.abspath(Path(value).expanduser()))
    raise ValueError("Expected a path")


def _unknown(key: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"there is no such key; did you mean {close[0]}?" if close else "there is no such key"


def _check_together(values: Mapping[str, object], sources: Mapping[str, str]) -> None:
    """Rules over several keys. The source named is that of the key that is there."""

    def refuse(key: str, reason: str) -> NoReturn:
        raise SettingsError(sources[key], key, reason)

    for one, other in (
        ("api.tls_certificate_file", "api.tls_key_file"),
        ("api.tls_key_file", "api.tls_certificate_file"),
        ("bitcoin.node_user", "bitcoin.node_password_file"),
        ("bitcoin.node_password_file", "bitcoin.node_user"),
        ("bitcoin.node_cookie_file", "bitcoin.node_url"),
        ("bitcoin.node_user", "bitcoin.node_url"),
        ("hsm.pkcs11_module", "hsm.pkcs11_token"),
        ("hsm.pkcs11_token", "hsm.pkcs11_pin_file"),
        ("hsm.pkcs11_pin_file", "hsm.pkcs11_module"),
    ):
        if values.get(one) is not None and values.get(other) is None:
            refuse(one, f"it needs {other} as well")
    if values.get("store.kind") == "postgresql" and values.get("store.dsn_file") is None:
        refuse("store.kind", "postgresql needs store.dsn_file")
    _check_token(values, refuse)
    _check_node(values, refuse)


def _check_token(values: Mapping[str, object], refuse: typing.Callable[[str, str], NoReturn]) -> None:
    ways = [key for key in ("hsm.pkcs11_uri", "hsm.pkcs11_module") if values.get(key) is not None]
    if (values.get("hsm.backend") == "pkcs11") != bool(ways):
        # Who forgot one of them must not get keys in software.
        refuse("hsm.backend", "pkcs11 needs hsm.pkcs11_module or hsm.pkcs11_uri, and they need it")
    if len(ways) == 2:
        refuse("hsm.pkcs11_uri", "it takes the place of hsm.pkcs11_module, _token and _pin_file")
    if ways == ["hsm.pkcs11_uri"]:
        try:
            parse_token_uri(str(values["hsm.pkcs11_uri"]))
        except InvalidInputError as error:
            refuse("hsm.pkcs11_uri", str(error.args[1]))


def _check_node(values: Mapping[str, object], refuse: typing.Callable[[str, str], NoReturn]) -> None:
    url = values.get("bitcoin.node_url")
    if url is None:
        if values.get("bitcoin.network", "regtest") != "regtest":
            refuse("bitcoin.network", "the embedded node is regtest only; set bitcoin.node_url")
        return
    parts = urlsplit(str(url))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        refuse("bitcoin.node_url", "it is not an http or https address")
    if parts.username or parts.password:
        # Addresses are shown and logged; credentials must not stand in them.
        refuse("bitcoin.node_url", "put its credentials into node_user and node_password_file")


def _assemble(values: Mapping[str, object]) -> Settings:
    nested: dict[str, Any] = {}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        if section:
            nested.setdefault(section, {})[name] = value
        else:
            nested[name] = value
    hints = typing.get_type_hints(Settings)
    return Settings(**{k: hints[k](**v) if k in _SECTIONS else v for k, v in nested.items()})
