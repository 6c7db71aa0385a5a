"""The process that joins shares: whatever becomes of it, an answer or a typed error, and no process left."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import psutil
import pytest

from anya_actors.adapters.linux.process_guard import LinuxProcessGuard
from anya_actors.adapters.sealing.shamir_shares import split_passphrase
from anya_actors.adapters.sealing.share_joining import MAX_ANSWER_BYTES, join_apart
from anya_actors.domain.keys.secret import Secret
from anya_actors.ports.passphrase import PassphraseSourceError

TEXT = base64.urlsafe_b64encode(bytes(range(32))).rstrip(b"=")


def running(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def children() -> list[psutil.Process]:
    return psutil.Process().children()


def written(folder: Path) -> Path:
    for number, share in enumerate(split_passphrase(Secret(TEXT), 2, 3)):
        file = folder / f"{number}.share"
        file.touch(mode=0o600)
        file.write_text(share)
    return folder


def test_the_passphrase_comes_from_another_process_that_is_gone_then(tmp_path: Path) -> None:
    before = children()
    with join_apart(written(tmp_path)) as passphrase:
        assert passphrase.reveal() == TEXT
    assert children() == before


def test_its_refusal_is_told_as_if_it_had_been_here(tmp_path: Path) -> None:
    with pytest.raises(PassphraseSourceError) as raised:
        join_apart(tmp_path)
    assert raised.value.args == (str(tmp_path), "it holds 0 shares, and 1 are needed")
    with pytest.raises(PassphraseSourceError, match="No such file"):
        join_apart(tmp_path / "none")
    share = written(tmp_path) / "1.share"
    share.chmod(0o644)
    with pytest.raises(PassphraseSourceError, match="others may read it") as raised:
        join_apart(tmp_path)
    assert raised.value.args[0] == str(share)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("pass", "ended without an answer"),
        ("import os; os.kill(os.getpid(), 9)", "ended without an answer"),
        ("print('words')", "ended without an answer"),
        ("import os; os.write(1, b'\\x01words')", "its answer cannot be read"),
        ("import os; os.write(1, b'\\x01[1]')", "its answer cannot be read"),
        (f"import os; os.write(1, bytes({MAX_ANSWER_BYTES} + 1))", "ended without an answer"),
        ("raise SystemExit(3)", "ended without an answer"),
    ],
)
def test_whatever_else_it_says_is_its_failure(tmp_path: Path, code: str, reason: str) -> None:
    before = children()
    with pytest.raises(PassphraseSourceError, match=f"joins its shares failed: .*{reason}"):
        join_apart(tmp_path, command=running(code))
    assert children() == before


def test_one_that_does_not_end_is_ended(tmp_path: Path) -> None:
    before = children()
    endless = "import signal\nwhile True: signal.pause()"
    with pytest.raises(PassphraseSourceError, match="none in time"):
        join_apart(tmp_path, command=running(endless), timeout_s=0.0)
    assert children() == before


def test_one_that_cannot_be_started_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(PassphraseSourceError, match="joins its shares failed: No such file"):
        join_apart(tmp_path, command=(str(tmp_path / "nothing"),))


def test_it_is_hardened_before_it_reads_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from anya_actors.adapters.sealing import shamir_shares, share_joining

    order: list[str] = []
    monkeypatch.setattr(LinuxProcessGuard, "harden", lambda _: order.append("hardened"))

    def read(path: Path) -> Secret:
        order.append(f"read {path}")
        raise PassphraseSourceError(str(path), "enough was seen")

    monkeypatch.setattr(shamir_shares, "read_shares", read)
    monkeypatch.setattr("sys.argv", ["joining", "where"])
    monkeypatch.setattr("os.writev", lambda descriptor, parts: order.append("answered"))
    share_joining.main()
    assert order == ["hardened", "read where", "answered"]
