"""MuSig2 by the vectors of BIP327, every error case with its culprit."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.keys.curve import GENERATOR, ORDER, CurveError, Point
from anya_actors.domain.keys.musig2 import (
    AggregateKey,
    InvalidContributionError,
    MusigError,
    Session,
    aggregate,
    aggregate_nonces,
    read_public_nonce,
    sort_keys,
)
from anya_actors.domain.keys.musig2_signing import (
    NonceReusedError,
    SecretNonce,
    generate_nonce,
    sign_deterministically,
    sign_partially,
)
from anya_actors.domain.keys.secret import Secret, SecretCopyError

Vectors = Callable[[str], Any]
MESSAGE = bytes(range(32))


def unhexed(values: Sequence[str], indices: Sequence[int]) -> list[bytes]:
    return [bytes.fromhex(values[index]) for index in indices]


def tweaked(key: AggregateKey, tweaks: Sequence[bytes], kinds: Sequence[bool]) -> AggregateKey:
    for tweak, x_only in zip(tweaks, kinds, strict=True):
        key = key.tweak(tweak, x_only=x_only)
    return key


def secret_nonce(text: str) -> SecretNonce:
    data = bytes.fromhex(text)
    return SecretNonce(Secret(data[:32]), Secret(data[32:64]), data[64:])


def assert_raises_as_the_vector_says(error: dict[str, Any], action: Callable[[], Any]) -> None:
    if error["type"] == "value":
        with pytest.raises(MusigError) as refusal:
            action()
        assert error["message"] in str(refusal.value)
    else:
        with pytest.raises(InvalidContributionError) as blame:
            action()
        assert blame.value.signer == error["signer"]
        assert error["contrib"] is None or blame.value.contribution == error["contrib"]


def test_keys_are_sorted_as_the_bip_does(vectors: Vectors) -> None:
    vector = vectors("bip327_key_sort.json")
    keys = unhexed(vector["pubkeys"], range(len(vector["pubkeys"])))
    assert list(sort_keys(keys)) == unhexed(vector["sorted_pubkeys"], range(len(keys)))


def test_keys_are_aggregated_as_the_bip_does(vectors: Vectors) -> None:
    vector = vectors("bip327_key_agg.json")
    for case in vector["valid_test_cases"]:
        key = aggregate(unhexed(vector["pubkeys"], case["key_indices"]))
        assert key.x_only.hex() == case["expected"].lower()
    for case in vector["error_test_cases"]:
        keys = unhexed(vector["pubkeys"], case["key_indices"])
        tweaks = unhexed(vector["tweaks"], case["tweak_indices"])
        assert_raises_as_the_vector_says(
            case["error"],
            partial(lambda keys, *tweaks: tweaked(aggregate(keys), *tweaks), keys, tweaks, case["is_xonly"]),
        )


def test_nonces_are_generated_as_the_bip_does(vectors: Vectors) -> None:
    def optional(text: str | None) -> bytes | None:
        return None if text is None else bytes.fromhex(text)

    for case in vectors("bip327_nonce_gen.json")["test_cases"]:
        private_key = optional(case["sk"])
        nonce = generate_nonce(
            bytes.fromhex(case["rand_"]),
            bytes.fromhex(case["pk"]),
            private_key=None if private_key is None else Secret(private_key),
            aggregate_key=optional(case["aggpk"]) or b"",
            message=optional(case["msg"]),
            extra_input=optional(case["extra_in"]) or b"",
        )
        assert nonce.public_nonce.hex() == case["expected_pubnonce"].lower()
        first, second = nonce.take()
        whole = first.reveal() + second.reveal() + nonce.public_key
        assert whole.hex() == case["expected_secnonce"].lower()


def test_nonces_are_aggregated_as_the_bip_does(vectors: Vectors) -> None:
    vector = vectors("bip327_nonce_agg.json")
    for case in vector["valid_test_cases"]:
        nonces = unhexed(vector["pnonces"], case["pnonce_indices"])
        assert aggregate_nonces(nonces).hex() == case["expected"].lower()
    for case in vector["error_test_cases"]:
        nonces = unhexed(vector["pnonces"], case["pnonce_indices"])
        assert_raises_as_the_vector_says(case["error"], partial(aggregate_nonces, nonces))


def test_parts_are_signed_and_verified_as_the_bip_does(vectors: Vectors) -> None:
    vector = vectors("bip327_sign_verify.json")
    private_key = bytes.fromhex(vector["sk"])
    for case in vector["valid_test_cases"]:
        keys = unhexed(vector["pubkeys"], case["key_indices"])
        nonces = unhexed(vector["pnonces"], case["nonce_indices"])
        total = bytes.fromhex(vector["aggnonces"][case["aggnonce_index"]])
        assert aggregate_nonces(nonces) == total
        session = Session(aggregate(keys), total, bytes.fromhex(vector["msgs"][case["msg_index"]]))
        nonce = secret_nonce(vector["secnonces"][0])
        part = sign_partially(nonce, Secret(private_key), session)
        assert part.hex() == case["expected"].lower()
        signer = case["signer_index"]
        session.verify_partial(part, nonces[signer], keys[signer])
    for case in vector["sign_error_test_cases"]:
        assert_raises_as_the_vector_says(case["error"], partial(signed, vector, case))
    for case in vector["verify_fail_test_cases"]:
        with pytest.raises(InvalidContributionError) as blame:
            verified(vector, case)
        assert (blame.value.signer, blame.value.contribution) == (case["signer_index"], "psig")
    for case in vector["verify_error_test_cases"]:
        assert_raises_as_the_vector_says(case["error"], partial(verified, vector, case))


def signed(vector: dict[str, Any], case: dict[str, Any]) -> bytes:
    key = aggregate(unhexed(vector["pubkeys"], case["key_indices"]))
    total = bytes.fromhex(vector["aggnonces"][case["aggnonce_index"]])
    session = Session(key, total, bytes.fromhex(vector["msgs"][case["msg_index"]]))
    nonce = secret_nonce(vector["secnonces"][case["secnonce_index"]])
    return sign_partially(nonce, Secret(bytes.fromhex(vector["sk"])), session)


def verified(vector: dict[str, Any], case: dict[str, Any]) -> None:
    keys = unhexed(vector["pubkeys"], case["key_indices"])
    nonces = unhexed(vector["pnonces"], case["nonce_indices"])
    message = bytes.fromhex(vector["msgs"][case["msg_index"]])
    session = Session(aggregate(keys), aggregate_nonces(nonces), message)
    at = case["signer_index"]
    session.verify_partial(bytes.fromhex(case["sig"]), nonces[at], keys[at], at)


def test_tweaked_keys_sign_as_the_bip_does(vectors: Vectors) -> None:
    vector = vectors("bip327_tweak.json")
    total, message = bytes.fromhex(vector["aggnonce"]), bytes.fromhex(vector["msg"])

    def sign(case: dict[str, Any]) -> bytes:
        keys = unhexed(vector["pubkeys"], case["key_indices"])
        tweaks = unhexed(vector["tweaks"], case["tweak_indices"])
        session = Session(tweaked(aggregate(keys), tweaks, case["is_xonly"]), total, message)
        nonce = secret_nonce(vector["secnonce"])
        return sign_partially(nonce, Secret(bytes.fromhex(vector["sk"])), session)

    for case in vector["valid_test_cases"]:
        assert sign(case).hex() == case["expected"].lower()
    for case in vector["error_test_cases"]:
        assert_raises_as_the_vector_says(case["error"], partial(sign, case))


def test_the_last_signer_signs_without_a_stored_nonce_as_the_bip_does(vectors: Vectors) -> None:
    vector = vectors("bip327_det_sign.json")

    def sign(case: dict[str, Any]) -> tuple[bytes, bytes]:
        key = aggregate(unhexed(vector["pubkeys"], case["key_indices"]))
        tweaks = [bytes.fromhex(tweak) for tweak in case["tweaks"]]
        return sign_deterministically(
            Secret(bytes.fromhex(vector["sk"])),
            bytes.fromhex(case["aggothernonce"]),
            tweaked(key, tweaks, case["is_xonly"]),
            bytes.fromhex(vector["msgs"][case["msg_index"]]),
            None if case["rand"] is None else bytes.fromhex(case["rand"]),
        )

    for case in vector["valid_test_cases"]:
        assert [part.hex() for part in sign(case)] == [text.lower() for text in case["expected"]]
    for case in vector["error_test_cases"]:
        assert_raises_as_the_vector_says(case["error"], partial(sign, case))


def test_parts_are_aggregated_as_the_bip_does(vectors: Vectors) -> None:
    vector = vectors("bip327_sig_agg.json")
    message = bytes.fromhex(vector["msg"])

    def aggregated(case: dict[str, Any]) -> tuple[Session, bytes]:
        key = aggregate(unhexed(vector["pubkeys"], case["key_indices"]))
        tweaks = unhexed(vector["tweaks"], case["tweak_indices"])
        key = tweaked(key, tweaks, case["is_xonly"])
        session = Session(key, bytes.fromhex(case["aggnonce"]), message)
        return session, session.aggregate(unhexed(vector["psigs"], case["psig_indices"]))

    for case in vector["valid_test_cases"]:
        session, signature = aggregated(case)
        assert signature.hex() == case["expected"].lower()
        session.verify(signature)
    for case in vector["error_test_cases"]:
        assert_raises_as_the_vector_says(case["error"], partial(aggregated, case))


# One valid case of bip327 (key_agg_vectors.json, sign_verify_vectors.json), for a run without the files.
KEYS = [
    bytes.fromhex(key)
    for key in (
        "03935F972DA013F80AE011890FA89B67A27B7BE6CCB24D3274D18B2D4067F261A9",
        "02F9308A019258C31049344F85F89D5229B531C845836F99B08601F113BCE036F9",
    )
]


def test_two_keys_have_the_aggregate_of_bip328() -> None:
    aggregate_key = "0354240c76b8f2999143301a99c7f721ee57eee0bce401df3afeaa9ae218c70f23"
    assert aggregate(KEYS).public_key.hex() == aggregate_key


def test_an_aggregate_is_never_made_of_nothing() -> None:
    with pytest.raises(MusigError, match="empty"):
        aggregate([])
    with pytest.raises(MusigError, match="empty"):
        aggregate_nonces([])


def test_a_long_public_key_is_not_a_contribution() -> None:
    # libsecp256k1 itself would read 65 bytes; the BIP does not.
    x, y = GENERATOR.x, (8).to_bytes(32, "big")
    with pytest.raises(InvalidContributionError) as blame:
        aggregate([KEYS[0], b"\x04" + x + y])
    assert blame.value.signer == 1


def secrets(count: int) -> list[Secret]:
    return [Secret(bytes([at + 1]) * 32) for at in range(count)]


def nonce_of(secret: Secret, *, seed: int = 7) -> SecretNonce:
    return generate_nonce(bytes([seed]) * 32, Point.of_secret(secret).serialize(), private_key=secret)


@given(st.integers(1, 5), st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.booleans()), max_size=3))
def test_any_number_of_signers_makes_one_bip340_signature(
    count: int, tweaks: list[tuple[bytes, bool]]
) -> None:
    signers = secrets(count)
    keys = [Point.of_secret(signer).serialize() for signer in signers]
    key = aggregate(keys)
    for tweak, x_only in tweaks:
        if int.from_bytes(tweak, "big") < ORDER:
            key = key.tweak(tweak, x_only=x_only)
    nonces = [nonce_of(signer) for signer in signers]
    public = [nonce.public_nonce for nonce in nonces]
    session = Session(key, aggregate_nonces(public), MESSAGE)
    parts = [sign_partially(nonce, signer, session) for nonce, signer in zip(nonces, signers, strict=True)]
    session.verify(session.aggregate(parts))
    assert key == pickle.loads(pickle.dumps(key))


def test_a_wrong_part_is_traced_to_its_signer() -> None:
    signers = secrets(3)
    keys = [Point.of_secret(signer).serialize() for signer in signers]
    nonces = [nonce_of(signer) for signer in signers]
    public = [nonce.public_nonce for nonce in nonces]
    session = Session(aggregate(keys), aggregate_nonces(public), MESSAGE)
    parts = [sign_partially(nonce, signer, session) for nonce, signer in zip(nonces, signers, strict=True)]
    parts[1] = (1).to_bytes(32, "big")
    with pytest.raises(MusigError, match="does not verify"):
        session.verify(session.aggregate(parts))
    session.verify_partial(parts[0], public[0], keys[0], 0)
    with pytest.raises(InvalidContributionError) as blame:
        session.verify_partial(parts[1], public[1], keys[1], 1)
    assert blame.value.signer == 1
    parts[2] = ORDER.to_bytes(32, "big")
    with pytest.raises(InvalidContributionError) as blame:
        session.aggregate(parts)
    assert blame.value.signer == 2


def test_a_nonce_signs_once() -> None:
    signer = secrets(1)[0]
    nonce = nonce_of(signer)
    key = aggregate([Point.of_secret(signer).serialize()])
    session = Session(key, nonce.public_nonce, MESSAGE)
    sign_partially(nonce, signer, session)
    assert nonce.is_used
    with pytest.raises(NonceReusedError):
        sign_partially(nonce, signer, session)


def test_a_nonce_is_used_up_even_by_a_signature_that_fails() -> None:
    signer, other = secrets(2)
    nonce = nonce_of(signer)
    session = Session(aggregate([Point.of_secret(other).serialize()]), nonce.public_nonce, MESSAGE)
    with pytest.raises(MusigError, match="must be included"):
        sign_partially(nonce, signer, session)
    with pytest.raises(NonceReusedError):
        sign_partially(nonce, signer, session)


def test_a_nonce_serves_only_the_key_it_was_made_for() -> None:
    signer, other = secrets(2)
    nonce = nonce_of(signer)
    session = Session(aggregate([Point.of_secret(other).serialize()]), nonce.public_nonce, MESSAGE)
    with pytest.raises(MusigError, match="does not match"):
        sign_partially(nonce, other, session)


def test_a_nonce_leaves_its_process_in_no_way() -> None:
    nonce = nonce_of(secrets(1)[0])
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(SecretCopyError):
            leave(nonce)
    first, second = nonce._first, nonce._second
    assert first is not None
    assert second is not None
    assert first.reveal().hex() not in repr(nonce)
    with nonce:
        pass
    assert nonce.is_used
    assert (first.reveal(), second.reveal()) == (bytes(32), bytes(32))


def test_signing_leaves_no_scalar_of_the_nonce_behind() -> None:
    signer = secrets(1)[0]
    nonce = nonce_of(signer)
    first, second = nonce._first, nonce._second
    key = aggregate([Point.of_secret(signer).serialize()])
    sign_partially(nonce, signer, Session(key, nonce.public_nonce, MESSAGE))
    assert first is not None
    assert second is not None
    assert (first.reveal(), second.reveal()) == (bytes(32), bytes(32))
    assert signer.reveal() == secrets(1)[0].reveal()


def test_nonces_differ_in_every_input() -> None:
    signer, other = secrets(2)
    key = Point.of_secret(signer).serialize()
    variants: list[dict[str, Any]] = [
        {},
        {"private_key": signer},
        {"private_key": other},
        {"aggregate_key": GENERATOR.x},
        {"message": b""},
        {"message": b"\x00"},
        {"extra_input": b"\x00"},
    ]
    nonces = [generate_nonce(bytes(32), key, **variant).public_nonce for variant in variants]
    assert all(one != other for one, other in itertools.combinations(nonces, 2))
    with pytest.raises(MusigError, match="randomness"):
        generate_nonce(bytes(31), key)
    with pytest.raises(CurveError):
        generate_nonce(bytes(32), b"\x02" + bytes(32))


@given(st.binary(max_size=70))
def test_whatever_is_no_nonce_is_blamed_on_its_signer(data: bytes) -> None:
    blamed = None
    try:
        points = read_public_nonce(data, 3)
    except InvalidContributionError as error:
        blamed = error.signer
    else:
        assert b"".join(point.serialize() for point in points) == data
    assert blamed in (None, 3)
