"""The passphrase in shares: enough of them give it back, fewer give nothing away."""

from __future__ import annotations

import base64
import itertools
import secrets
from pathlib import Path

import pytest
from bip39_slip39 import slip39
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.adapters.sealing.shamir_shares import split_passphrase
from anya_actors.adapters.sealing.share_directory import FileOrShares, ShareDirectory
from anya_actors.cli.faults import DataDirectoryError
from anya_actors.cli.instance import write_private
from anya_actors.cli.passphrase import write_shares
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.passphrase import PassphraseSourceError

TEXT = secrets.token_urlsafe(32).encode()

# trezor/python-shamir-mnemonic, vectors.json: "Valid mnemonic without sharing (128 bits)" is not
# split; "Basic sharing 2-of-3 (128 bits)", passphrase TREZOR.
OFFICIAL = (
    "shadow pistol academic always adequate wildlife fancy gross oasis cylinder mustang wrist rescue "
    "view short owner flip making coding armed",
    "shadow pistol academic acid actress prayer class unknown daughter sweater depict flip twice unkind "
    "craft early superior advocate guest smoking",
)


def written(folder: Path, shares: list[str]) -> ShareDirectory:
    folder.mkdir(mode=0o700, exist_ok=True)
    for number, share in enumerate(shares):
        file = folder / f"{number}.share"
        file.touch(mode=0o600)
        file.write_text(share + "\n")
    return ShareDirectory(folder)


def test_the_library_joins_the_official_shares() -> None:
    secret = slip39.master_secret_from_mnemonics(OFFICIAL, "TREZOR")
    assert secret.hex() == "b43ceb7e57a0ea8766221624d01b0864"


async def test_any_three_of_five_give_the_passphrase_back(tmp_path: Path) -> None:
    shares = split_passphrase(Secret(bytearray(TEXT)), 3, 5)
    for number, chosen in enumerate(itertools.combinations(shares, 3)):
        with await written(tmp_path / str(number), list(chosen)).read() as passphrase:
            assert passphrase.reveal() == TEXT
    with await written(tmp_path / "all", shares).read() as passphrase:
        assert passphrase.reveal() == TEXT


@pytest.mark.parametrize("count", [0, 1, 2])
async def test_fewer_are_refused_by_number(tmp_path: Path, count: int) -> None:
    shares = split_passphrase(Secret(bytearray(TEXT)), 3, 5)
    with pytest.raises(PassphraseSourceError) as raised:
        await written(tmp_path / "some", shares[:count]).read()
    assert not any(share.rpartition(" ")[0][-40:] in str(raised.value) for share in shares)


async def test_damaged_foreign_and_doubled_shares_are_refused(tmp_path: Path) -> None:
    first, second = (split_passphrase(Secret(bytearray(TEXT)), 2, 3) for _ in range(2))
    damaged = first[0].rsplit(" ", 1)[0] + " academic"
    for number, chosen in enumerate(
        ([first[0], second[1]], [first[0], first[0]], [damaged, first[1]], ["words", "words"], ["\xff", "x"])
    ):
        with pytest.raises(PassphraseSourceError):
            await written(tmp_path / str(number), chosen).read()


async def test_a_share_that_others_can_read_is_refused(tmp_path: Path) -> None:
    source = written(tmp_path / "s", split_passphrase(Secret(bytearray(TEXT)), 2, 2))
    (tmp_path / "s" / "0.share").chmod(0o640)
    with pytest.raises(PassphraseSourceError, match="others may read it"):
        await source.read()
    with pytest.raises(PassphraseSourceError):
        await ShareDirectory(tmp_path / "none").read()


@pytest.mark.parametrize(("threshold", "count"), [(1, 1), (1, 3), (4, 3), (2, 17), (0, 0)])
def test_what_is_no_splitting_is_refused(threshold: int, count: int) -> None:
    with pytest.raises(InvalidInputError):
        split_passphrase(Secret(bytearray(TEXT)), threshold, count)


@given(st.binary(min_size=1, max_size=60))
def test_a_passphrase_of_ones_own_is_not_split(text: bytes) -> None:
    with pytest.raises(InvalidInputError):
        split_passphrase(Secret(bytearray(text)), 2, 3)


async def test_the_command_writes_files_of_our_own_and_overwrites_none(tmp_path: Path) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_bytes(TEXT + b"\n")
    paths = write_shares(passphrase, tmp_path / "shares", 2, 3)
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o600] * 3
    with await ShareDirectory(tmp_path / "shares").read() as joined:
        assert joined.reveal() == TEXT
    with pytest.raises(DataDirectoryError, match="already"):
        write_shares(passphrase, tmp_path / "shares", 2, 3)


async def test_the_next_shares_take_the_place_of_the_present_ones(tmp_path: Path) -> None:
    source = written(tmp_path / "s", split_passphrase(Secret(bytearray(TEXT)), 2, 2))
    for round_ in range(2):  # a second time the earlier directory is there already
        with pytest.raises(PassphraseSourceError):
            await source.read_next()
        following = base64.urlsafe_b64encode(bytes([round_]) * 32).rstrip(b"=")
        written(tmp_path / "s.new", split_passphrase(Secret(bytearray(following)), 2, 3))
        with await source.read_next() as passphrase:
            assert passphrase.reveal() == following
        await source.adopt_next()
        with await source.read() as passphrase:
            assert passphrase.reveal() == following


async def test_a_crash_between_the_two_renames_leaves_the_next_shares_readable(tmp_path: Path) -> None:
    written(tmp_path / "s.new", split_passphrase(Secret(bytearray(TEXT)), 2, 2))
    source = ShareDirectory(tmp_path / "s")
    with pytest.raises(PassphraseSourceError):
        await source.read()
    await source.adopt_next()
    with await source.read() as passphrase:
        assert passphrase.reveal() == TEXT


async def test_shares_take_the_place_of_a_file_that_is_gone_and_the_file_theirs_again(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    source = FileOrShares(path, tmp_path / "shares")
    with pytest.raises(PassphraseSourceError, match="passphrase: No such file"):
        await source.read()
    shares = split_passphrase(Secret(bytearray(TEXT)), 2, 2)
    written(tmp_path / "shares", shares[:1])
    with pytest.raises(PassphraseSourceError, match="2 are needed"):
        await source.read()
    written(tmp_path / "shares", shares)
    with await source.read() as passphrase:
        assert passphrase.reveal() == TEXT
    write_private(tmp_path / "passphrase.new", b"a file again")
    await source.adopt_next()
    with await source.read() as passphrase:
        assert passphrase.reveal() == b"a file again"
