from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.keys.pkcs11_uri import TokenUri, parse_token_uri
from anya_actors.domain.machine import InvalidInputError

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
WAY = f"?module-path={MODULE}&pin-source=file:/etc/anya/pin"


def test_a_uri_names_a_token_and_the_way_to_it() -> None:
    found = parse_token_uri(f"pkcs11:token=The%20Software%20token;serial=00ab{WAY}")
    assert found == TokenUri("The Software token", MODULE, "/etc/anya/pin", "00ab")


@pytest.mark.parametrize("source", ["file:/pin", "file:///pin", "/pin"])
def test_the_pin_is_in_a_file(source: str) -> None:
    assert parse_token_uri(f"pkcs11:token=t?pin-source={source}&module-path=/m").pin_file == "/pin"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "begins with"),
        ("PKCS11:token=t" + WAY, "begins with"),
        ("pkcs11:" + WAY, "lacks token"),
        ("pkcs11:token=t?module-path=/m", "lacks pin-source"),
        ("pkcs11:token=t?pin-source=/p", "lacks module-path"),
        ("pkcs11:token=t;token=u" + WAY, "token is not one value"),
        ("pkcs11:token=%zz" + WAY, "token is not one value"),
        ("pkcs11:token=%ff" + WAY, "UTF-8"),
        ("pkcs11:token=a%00" + WAY, "zero"),
        ("pkcs11:token=t;object=key" + WAY, "of attributes there are"),
        ("pkcs11:token=t?pin-value=1234&module-path=/m", "of attributes there are"),
        ("pkcs11:token=t?module-name=softhsm2&pin-source=/p", "of attributes there are"),
        ("pkcs11:token=t?module-path=libsofthsm2.so&pin-source=/p", "no absolute path"),
        ("pkcs11:token=t?module-path=/m&pin-source=|/bin/askpin", "no absolute path"),
    ],
)
def test_what_is_no_way_to_a_token_is_refused_by_name(text: str, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        parse_token_uri(text)


@given(st.text(st.characters(exclude_characters="\x00", codec="utf-8"), min_size=1))
def test_any_label_is_read_as_it_was_written(label: str) -> None:
    assert parse_token_uri(f"pkcs11:token={quote(label, safe='')}{WAY}").token == label


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for uri in (text, f"pkcs11:{text}", f"pkcs11:token=t?{text}"):
        try:
            parse_token_uri(uri)
        except InvalidInputError:
            continue
