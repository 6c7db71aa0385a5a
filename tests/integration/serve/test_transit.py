"""The Transit listener under `hvac`, a client of Vault's, unchanged, over a whole HSM."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Any

import hvac
import pytest
import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_public_key,
)
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, VaultDown
from nacl.bindings import (
    crypto_sign_ed25519ph_final_verify,
    crypto_sign_ed25519ph_state,
    crypto_sign_ed25519ph_update,
)

from anya_actors.testing.clock import ManualClock
from tests.integration.serve.vault_listener import Listener, b64, run

TEXT = base64.b64encode(b"a text").decode()


async def test_keys_are_made_read_listed_rotated_configured_trimmed_and_deleted(listener: Listener) -> None:
    client = await listener.client()
    transit = client.secrets.transit

    def life() -> None:
        with pytest.raises(InvalidPath):
            transit.list_keys()
        transit.create_key("k")
        transit.create_key("k")  # once more is no error, and makes no other
        read = transit.read_key("k")["data"]
        assert (read["type"], read["latest_version"], list(read["keys"])) == ("aes256-gcm96", 1, ["1"])
        assert transit.list_keys()["data"]["keys"] == ["k"]
        old = transit.encrypt_data("k", TEXT)["data"]["ciphertext"]
        transit.rotate_key("k")
        transit.rotate_key("k")
        new = transit.encrypt_data("k", TEXT)["data"]["ciphertext"]
        assert (old[:9], new[:9]) == ("vault:v1:", "vault:v3:")
        assert transit.decrypt_data("k", old)["data"]["plaintext"] == TEXT
        again = transit.rewrap_data("k", old)["data"]["ciphertext"]
        assert again.startswith("vault:v3:")
        transit.update_key_configuration("k", min_decryption_version=3)
        with pytest.raises(InvalidRequest, match="may not be used"):
            transit.decrypt_data("k", old)
        assert transit.decrypt_data("k", again)["data"]["plaintext"] == TEXT
        transit.trim_key("k", 3)
        assert transit.read_key("k")["data"]["min_available_version"] == 3
        with pytest.raises(Forbidden):
            transit.delete_key("k")
        transit.update_key_configuration("k", deletion_allowed=True)
        transit.delete_key("k")
        with pytest.raises(InvalidPath):
            transit.read_key("k")

    await run(life)


@pytest.mark.parametrize("key_type", ["aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "rsa-2048"])
async def test_what_is_encrypted_is_decrypted_also_in_batches(listener: Listener, key_type: str) -> None:
    client = await listener.client()
    transit = client.secrets.transit

    def work() -> None:
        client.write("transit/keys/k", type=key_type)
        items = [{"plaintext": b64(b"%d" % n), "reference": str(n)} for n in range(20)]
        sealed = transit.encrypt_data("k", batch_input=items)["data"]["batch_results"]
        assert [each["reference"] for each in sealed] == [str(n) for n in range(20)]
        opened = transit.decrypt_data("k", batch_input=sealed)["data"]["batch_results"]
        assert [each["plaintext"] for each in opened] == [item["plaintext"] for item in items]
        damaged = [sealed[0], {"ciphertext": sealed[1]["ciphertext"][:-8] + "AAAAAAA="}, {"ciphertext": "x"}]
        with pytest.raises(InvalidRequest):
            transit.decrypt_data("k", batch_input=damaged)

    await run(work)


async def test_a_batch_that_fails_in_part_answers_with_the_status_that_was_asked_for(
    listener: Listener,
) -> None:
    client = await listener.client()

    def work() -> None:
        client.secrets.transit.create_key("k")
        body: Any = {
            "batch_input": [{"plaintext": TEXT}, {"plaintext": "not base64!", "reference": "b"}],
            "partial_failure_response_code": 207,
        }
        headers = {"X-Vault-Token": client.token}
        answer = requests.post(f"{listener.url}/v1/transit/encrypt/k", json=body, headers=headers, timeout=30)
        assert answer.status_code == 207
        first, second = answer.json()["data"]["batch_results"]
        assert first["ciphertext"].startswith("vault:v1:")
        assert (sorted(second), second["reference"]) == (["error", "reference"], "b")
        for items, code, status in (
            ([{"plaintext": TEXT}], 207, 200),
            ([{"plaintext": "not base64!"}], 207, 400),
            ([{"plaintext": TEXT}, {}], 99, 400),
            ([{"plaintext": TEXT, "padding_scheme": "pkcs1v15"}, {"plaintext": TEXT}], 299, 299),
        ):
            body = {"batch_input": items, "partial_failure_response_code": code}
            answer = requests.post(
                f"{listener.url}/v1/transit/encrypt/k", json=body, headers=headers, timeout=30
            )
            assert answer.status_code == status, answer.text

    await run(work)


async def test_encrypting_by_a_key_that_is_not_there_makes_it(listener: Listener) -> None:
    transit = (await listener.client()).secrets.transit

    def work() -> None:
        sealed = transit.encrypt_data("fresh", TEXT, associated_data=b64(b"data"))["data"]["ciphertext"]
        opened = transit.decrypt_data("fresh", sealed, associated_data=b64(b"data"))
        assert opened["data"]["plaintext"] == TEXT
        with pytest.raises(InvalidRequest):
            transit.decrypt_data("fresh", sealed)
        with pytest.raises(InvalidRequest, match="not found"):
            transit.decrypt_data("nix", sealed)

    await run(work)


async def test_signatures_hold_under_the_public_key_that_is_shown(listener: Listener) -> None:
    transit = (await listener.client()).secrets.transit

    def public(name: str) -> Any:
        shown = transit.read_key(name)["data"]["keys"]["1"]["public_key"]
        if name == "ed25519":  # Vault: base64 of the key itself
            return ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(shown))
        return load_pem_public_key(shown.encode())

    def sign(name: str, **how: Any) -> bytes:
        signature = transit.sign_data(name, TEXT, **how)["data"]["signature"]
        assert transit.verify_signed_data(name, TEXT, signature=signature, **how)["data"]["valid"] is True
        other = transit.verify_signed_data(name, b64(b"other"), signature=signature, **how)
        assert other["data"]["valid"] is False
        assert signature.startswith("vault:v1:")
        encoded = signature.split(":")[2]
        if how.get("marshaling_algorithm") == "jws":
            return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        return base64.b64decode(encoded)

    def work() -> None:
        for key_type in ("ed25519", "ecdsa-p256", "rsa-2048"):
            transit.create_key(key_type, key_type=key_type)
        public("ed25519").verify(sign("ed25519"), b"a text")
        ecdsa = ec.ECDSA(hashes.SHA256())
        public("ecdsa-p256").verify(sign("ecdsa-p256"), b"a text", ecdsa)
        assert len(sign("ecdsa-p256", marshaling_algorithm="jws")) == 64
        key = public("rsa-2048")
        for salt, bytes_ in (("hash", 64), ("20", 20), ("auto", padding.PSS.MAX_LENGTH)):
            pss = padding.PSS(padding.MGF1(hashes.SHA512()), bytes_)
            signature = sign("rsa-2048", hash_algorithm="sha2-512", salt_length=salt)
            key.verify(signature, b"a text", pss, hashes.SHA512())
        pkcs1 = sign("rsa-2048", signature_algorithm="pkcs1v15")
        key.verify(pkcs1, b"a text", padding.PKCS1v15(), hashes.SHA256())
        items = [{"input": TEXT}, {"input": b64(b"other")}]
        signed = transit.sign_data("ed25519", batch_input=items)["data"]["batch_results"]
        assert len({each["signature"] for each in signed}) == 2

    await run(work)


@pytest.mark.parametrize("key_type", ["ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048"])
@pytest.mark.parametrize("named", ["sha2-224", "sha2-256", "sha2-384", "sha2-512", "sha3-256", "sha3-512"])
async def test_a_digest_is_signed_as_its_message_is(listener: Listener, key_type: str, named: str) -> None:
    client = await listener.client()

    def ask(operation: str, text: str, **how: Any) -> Any:
        return client.write(f"transit/{operation}/k", input=text, **how)["data"]

    def work() -> None:
        client.write("transit/keys/k", type=key_type)
        digest = hashlib.new(named.replace("sha2-", "sha").replace("-", "_"), b"a text").digest()
        forms: list[dict[str, Any]] = [{"marshaling_algorithm": "asn1"}, {"marshaling_algorithm": "jws"}]
        if key_type == "rsa-2048":
            forms = [{"signature_algorithm": "pss"}, {"signature_algorithm": "pkcs1v15"}]
        for form in forms:
            for signs, checks in ((True, False), (False, True)):
                texts = {True: b64(digest), False: TEXT}
                how = {"hash_algorithm": named, **form}
                signed = ask("sign", texts[signs], prehashed=signs, **how)["signature"]
                checked = {"signature": signed, **how}
                assert ask("verify", texts[checks], prehashed=checks, **checked)["valid"] is True
                wrong = b64(bytes(len(digest)))
                assert ask("verify", wrong, prehashed=True, **checked)["valid"] is False

    await run(work)


async def test_pkcs1_signs_what_the_caller_has_encoded(listener: Listener) -> None:
    client = await listener.client()

    def ask(operation: str, text: str, **how: Any) -> Any:
        return client.write(f"transit/{operation}/k", input=text, **how)["data"]

    def work() -> None:
        client.write("transit/keys/k", type="rsa-2048")
        how: dict[str, Any] = {"signature_algorithm": "pkcs1v15", "prehashed": True}
        # RFC 8017, 9.2, note 1: the DigestInfo of SHA-256.
        encoded = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(b"a text").digest()
        signed = ask("sign", b64(encoded), hash_algorithm="none", **how)
        assert signed == ask("sign", TEXT, signature_algorithm="pkcs1v15")
        for refused in ({"prehashed": False}, {"signature_algorithm": "pss"}):
            with pytest.raises(InvalidRequest, match="none is for"):
                ask("sign", b64(encoded), hash_algorithm="none", **{**how, **refused})
        with pytest.raises(InvalidRequest, match="sha1"):
            ask("sign", TEXT, hash_algorithm="sha1")

    await run(work)


async def test_an_hmac_key_serves_every_hash_and_a_cmac_key_its_own_code(listener: Listener) -> None:
    client = await listener.client()

    def work() -> None:
        client.write("transit/keys/h", type="hmac")
        for named in ("sha2-224", "sha2-256", "sha2-512", "sha3-384"):
            mac = client.write("transit/hmac/h", input=TEXT, algorithm=named)["data"]["hmac"]
            checked = {"hmac": mac, "hash_algorithm": named}
            assert client.write("transit/verify/h", input=TEXT, **checked)["data"]["valid"] is True
        assert client.secrets.transit.list_keys()["data"]["keys"] == ["h"]
        client.write("transit/keys/c", type="aes256-cmac")
        code = client.write("transit/cmac/c", input=TEXT)["data"]["cmac"]
        assert len(base64.b64decode(code.split(":")[2])) == 16
        for text, valid in ((TEXT, True), (b64(b"other"), False)):
            assert client.write("transit/verify/c", input=text, cmac=code)["data"]["valid"] is valid
        with pytest.raises(InvalidRequest, match="truncated"):
            client.write("transit/cmac/c/8", input=TEXT)

    await run(work)


async def test_ed25519_signs_a_digest_as_ed25519ph(listener: Listener) -> None:
    client = await listener.client()

    def work() -> None:
        client.write("transit/keys/k", type="ed25519")
        digest = {"input": b64(hashlib.sha512(b"a text").digest()), "prehashed": True}
        shown = client.secrets.transit.read_key("k")["data"]["keys"]["1"]["public_key"]
        for named in ({}, {"hash_algorithm": "sha2-512"}):
            signed = client.write("transit/sign/k", **digest, **named)["data"]["signature"]
            checked = {**digest, **named, "signature": signed}
            assert client.write("transit/verify/k", **checked)["data"]["valid"] is True
            whole = {"input": TEXT, "signature": signed}
            assert client.write("transit/verify/k", **whole)["data"]["valid"] is False
        # libsodium, which hashes the message itself, agrees.
        state = crypto_sign_ed25519ph_state()
        crypto_sign_ed25519ph_update(state, b"a text")
        signature = base64.b64decode(signed.split(":")[2])
        assert crypto_sign_ed25519ph_final_verify(state, signature, base64.b64decode(shown))
        for fields, match in (
            ({**digest, "hash_algorithm": "sha2-256"}, "sha2-512"),
            ({"input": TEXT, "prehashed": True}, "64 bytes"),
            ({**digest, "signature_context": TEXT}, "not supported"),
            ({"input": TEXT, "signature_context": TEXT}, "not supported"),
        ):
            with pytest.raises(InvalidRequest, match=match):
                client.write("transit/sign/k", **fields)

    await run(work)


async def test_keys_of_secp256k1_stand_beside_vaults_own(listener: Listener) -> None:
    client = await listener.client()

    def work() -> None:
        client.write("transit/keys/coin", type="ecdsa-secp256k1")
        digest = b64(hashlib.sha256(b"a text").digest())
        signed = client.write("transit/sign/coin", input=digest, prehashed=True)["data"]["signature"]
        whole = {"input": TEXT, "signature": signed}
        assert client.write("transit/verify/coin", **whole)["data"]["valid"] is True
        schnorr = {"input": digest, "signature_algorithm": "bip340"}
        signature = client.write("transit/sign/coin", **schnorr)["data"]["signature"]
        assert client.write("transit/verify/coin", **schnorr, signature=signature)["data"]["valid"] is True

    await run(work)


async def test_derived_and_convergent_keys_take_a_context(listener: Listener) -> None:
    client = await listener.client()
    transit = client.secrets.transit
    a, b = b64(b"tenant a"), b64(b"tenant b")

    def work() -> None:
        transit.create_key("d", derived=True)
        sealed = transit.encrypt_data("d", TEXT, context=a)["data"]["ciphertext"]
        assert transit.decrypt_data("d", sealed, context=a)["data"]["plaintext"] == TEXT
        for refused in ({"context": b}, {}):
            with pytest.raises(InvalidRequest):
                transit.decrypt_data("d", sealed, **refused)
        transit.create_key("c", derived=True, convergent_encryption=True)
        read = transit.read_key("c")["data"]
        assert (read["derived"], read["convergent_encryption"], read["kdf"]) == (True, True, "hkdf_sha256")
        items = [{"plaintext": TEXT, "context": each} for each in (a, a, b)]
        found = transit.encrypt_data("c", batch_input=items)["data"]["batch_results"]
        assert len({each["ciphertext"] for each in found}) == 2
        made = transit.generate_data_key("c", "plaintext", context=a)["data"]
        opened = transit.decrypt_data("c", made["ciphertext"], context=a)
        assert opened["data"]["plaintext"] == made["plaintext"]
        # Vault: encrypting in a context makes a derived key where there is none.
        transit.encrypt_data("fresh", TEXT, context=a)
        assert transit.read_key("fresh")["data"]["derived"] is True

    await run(work)


async def test_an_older_version_acts_by_its_number_down_to_the_minimum(listener: Listener) -> None:
    transit = (await listener.client()).secrets.transit

    def work() -> None:
        transit.create_key("k")
        transit.create_key("s", key_type="ed25519")
        for name in ("k", "k", "s", "s"):
            transit.rotate_key(name)
        sealed = transit.encrypt_data("k", TEXT, key_version=1)["data"]["ciphertext"]
        assert sealed.startswith("vault:v1:")
        assert transit.encrypt_data("k", TEXT)["data"]["ciphertext"].startswith("vault:v3:")
        assert transit.sign_data("s", TEXT, key_version=2)["data"]["signature"].startswith("vault:v2:")
        assert transit.generate_hmac("s", TEXT, key_version=0)["data"]["hmac"].startswith("vault:v")
        transit.update_key_configuration("k", min_encryption_version=2)
        transit.update_key_configuration("s", min_decryption_version=3)
        assert transit.decrypt_data("k", sealed)["data"]["plaintext"] == TEXT
        with pytest.raises(InvalidRequest, match="only decrypts"):
            transit.encrypt_data("k", TEXT, key_version=1)
        with pytest.raises(InvalidRequest, match="may not be used"):
            transit.sign_data("s", TEXT, key_version=2)

    await run(work)


async def test_a_key_can_be_told_to_rotate_by_itself(listener: Listener) -> None:
    client = await listener.client()
    transit = client.secrets.transit

    def work() -> None:
        client.write("transit/keys/k", auto_rotate_period="30d")
        assert transit.read_key("k")["data"]["auto_rotate_period"] == 30 * 86400
        for written, read in (("1h30m", 5400), (7200, 7200), ("3600", 3600), ("0", 0)):
            client.write("transit/keys/k/config", auto_rotate_period=written)
            assert transit.read_key("k")["data"]["auto_rotate_period"] == read
        for refused in ("59m", "soon", "1w", True):
            with pytest.raises(InvalidRequest, match="auto_rotate"):
                client.write("transit/keys/k/config", auto_rotate_period=refused)

    await run(work)


async def test_a_derived_ed25519_key_shows_the_public_key_of_a_context(listener: Listener) -> None:
    client = await listener.client()
    transit = client.secrets.transit

    def work() -> None:
        transit.create_key("e", key_type="ed25519", derived=True)
        context = b64(b"a")
        signed = transit.sign_data("e", TEXT, context=context)["data"]["signature"]
        assert transit.verify_signed_data("e", TEXT, signature=signed, context=context)["data"]["valid"]
        shown = client.read("transit/keys/e?context=" + context)["data"]["keys"]["1"]["public_key"]
        key = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(shown))
        key.verify(base64.b64decode(signed.split(":")[2]), b"a text")
        assert transit.read_key("e")["data"]["keys"]["1"]["public_key"] == ""

    await run(work)


async def test_macs_data_keys_hashes_and_chance(listener: Listener) -> None:
    client = await listener.client()
    transit = client.secrets.transit

    def work() -> None:
        transit.create_key("k")
        for algorithm in ("sha2-256", "sha2-384", "sha2-512"):
            mac = transit.generate_hmac("k", TEXT, algorithm=algorithm)["data"]["hmac"]
            checked = {"hmac": mac, "hash_algorithm": algorithm}
            assert transit.verify_signed_data("k", TEXT, **checked)["data"]["valid"] is True
            assert transit.verify_signed_data("k", b64(b"x"), **checked)["data"]["valid"] is False
        assert transit.list_keys()["data"]["keys"] == ["k"]
        made = transit.generate_data_key("k", "plaintext", bits=512)["data"]
        assert transit.decrypt_data("k", made["ciphertext"])["data"]["plaintext"] == made["plaintext"]
        assert len(base64.b64decode(made["plaintext"])) == 64
        assert "plaintext" not in transit.generate_data_key("k", "wrapped")["data"]
        summed = transit.hash_data(TEXT, algorithm="sha2-256", output_format="hex")["data"]["sum"]
        assert summed == hashlib.sha256(b"a text").hexdigest()
        for path in ("random/platform/16", "random/all/16", "random/16"):
            drawn_here = client.write(f"transit/{path}", format="hex")["data"]["random_bytes"]
            assert len(drawn_here) == 32
        assert len(base64.b64decode(client.write("transit/random/platform")["data"]["random_bytes"])) == 32
        with pytest.raises(InvalidRequest, match="not supported"):
            client.write("transit/random/seal/16")
        drawn = {transit.generate_random_bytes(n_bytes=32)["data"]["random_bytes"] for _ in range(5)}
        assert len(drawn) == 5

    await run(work)


async def test_a_wrapped_key_is_imported(listener: Listener) -> None:
    client = await listener.client()

    def work() -> None:
        pem = client.read("transit/wrapping_key")["data"]["public_key"]
        wrapping = load_pem_public_key(pem.encode())
        assert isinstance(wrapping, rsa.RSAPublicKey)
        assert wrapping.key_size == 4096
        ephemeral = bytes(range(32))
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        blob = wrapping.encrypt(ephemeral, oaep) + aes_key_wrap_with_padding(ephemeral, b"\x07" * 32)
        client.write(
            "transit/keys/in/import",
            ciphertext=b64(blob),
            hash_function="SHA256",
            type="aes256-gcm96",
            exportable=True,
        )
        assert client.secrets.transit.read_key("in")["data"]["exportable"] is True
        sealed = client.secrets.transit.encrypt_data("in", TEXT)["data"]["ciphertext"]
        assert client.secrets.transit.decrypt_data("in", sealed)["data"]["plaintext"] == TEXT
        with pytest.raises(InvalidRequest):
            client.write("transit/keys/bad/import", ciphertext=b64(blob[:-1]), type="aes256-gcm96")

    await run(work)


async def test_a_wrapped_version_is_imported_and_the_codes_beside_it_go_on(listener: Listener) -> None:
    client = await listener.client()
    transit = client.secrets.transit
    key = ec.generate_private_key(ec.SECP256R1())
    written = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    def work() -> None:
        wrapping = load_pem_public_key(client.read("transit/wrapping_key")["data"]["public_key"].encode())
        assert isinstance(wrapping, rsa.RSAPublicKey)
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        blob = wrapping.encrypt(bytes(range(32)), oaep) + aes_key_wrap_with_padding(bytes(range(32)), written)
        transit.create_key("k", key_type="ecdsa-p256")
        transit.create_key("p384", key_type="ecdsa-p384")
        old = transit.sign_data("k", TEXT)["data"]["signature"]
        mac = transit.generate_hmac("k", TEXT)["data"]["hmac"]
        client.write("transit/keys/k/import_version", ciphertext=b64(blob), hash_function="SHA256")
        new = transit.sign_data("k", TEXT)["data"]["signature"]
        assert new.startswith("vault:v2:")
        key.public_key().verify(base64.b64decode(new.split(":")[2]), b"a text", ec.ECDSA(hashes.SHA256()))
        for signature in (old, new):
            assert transit.verify_signed_data("k", TEXT, signature=signature)["data"]["valid"] is True
        assert transit.verify_signed_data("k", TEXT, hmac=mac)["data"]["valid"] is True
        assert transit.generate_hmac("k", TEXT)["data"]["hmac"].startswith("vault:v2:")
        for name in ("p384", "nix"):  # of another type; not there
            with pytest.raises(InvalidRequest):
                client.write(f"transit/keys/{name}/import_version", ciphertext=b64(blob))
        with pytest.raises(InvalidRequest, match="use import-version"):
            client.write("transit/keys/k/import", ciphertext=b64(blob), type="ecdsa-p256")

    await run(work)


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()], ids=["p384", "p521"])
async def test_a_key_of_a_curve_is_imported_as_pkcs8(listener: Listener, curve: ec.EllipticCurve) -> None:
    client = await listener.client()
    key = ec.generate_private_key(curve)
    written = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    def work() -> None:
        wrapping = load_pem_public_key(client.read("transit/wrapping_key")["data"]["public_key"].encode())
        assert isinstance(wrapping, rsa.RSAPublicKey)
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        blob = wrapping.encrypt(bytes(range(32)), oaep) + aes_key_wrap_with_padding(bytes(range(32)), written)
        key_type = f"ecdsa-p{curve.key_size}"
        client.write("transit/keys/in/import", ciphertext=b64(blob), type=key_type)
        how = {"input": TEXT, "hash_algorithm": "sha2-512"}
        signed = client.write("transit/sign/in", **how)["data"]["signature"].split(":")[2]
        key.public_key().verify(base64.b64decode(signed), b"a text", ec.ECDSA(hashes.SHA512()))

    await run(work)


async def test_nobody_sees_or_uses_what_is_anothers(listener: Listener) -> None:
    alice, bob = await listener.client(), await listener.client(subject="bob")
    reader = await listener.client("security:read")
    stranger = hvac.Client(url=listener.url, token="forged")

    def work() -> None:
        sealed = alice.secrets.transit.encrypt_data("k", TEXT)["data"]["ciphertext"]
        with pytest.raises(InvalidPath):
            bob.secrets.transit.read_key("k")
        with pytest.raises(InvalidRequest, match="not found"):
            bob.secrets.transit.decrypt_data("k", sealed)
        with pytest.raises(InvalidRequest, match="not found"):
            bob.secrets.transit.rotate_key("k")
        assert reader.secrets.transit.read_key("k")["data"]["name"] == "k"
        for client in (reader, stranger):
            with pytest.raises(Forbidden):
                client.secrets.transit.decrypt_data("k", sealed)
        assert alice.is_authenticated()
        assert not stranger.is_authenticated()

    await run(work)


REFUSED = "refused by name"
SURFACE: dict[str, str] = {
    "create_key": "works",
    "read_key": "works",
    "list_keys": "works",
    "delete_key": "works",
    "update_key_configuration": "works",
    "rotate_key": "works",
    "export_key": REFUSED,
    "encrypt_data": "works",
    "decrypt_data": "works",
    "rewrap_data": "works",
    "generate_data_key": "works",
    "generate_random_bytes": "works",
    "hash_data": "works",
    "generate_hmac": "works",
    "sign_data": "works",
    "verify_signed_data": "works",
    "backup_key": "works",
    "restore_key": "works",
    "trim_key": "works",
}


async def test_every_method_of_hvac_works_or_is_refused_by_name(listener: Listener) -> None:
    client = await listener.client()
    transit = client.secrets.transit
    methods = {name for name in dir(transit) if not name.startswith("_") and callable(getattr(transit, name))}
    assert methods == set(SURFACE)

    def work() -> None:
        transit.create_key("k")
        transit.create_key("s", key_type="ecdsa-p384")
        sealed = transit.encrypt_data("k", TEXT)["data"]["ciphertext"]
        signed = transit.sign_data("s", TEXT)["data"]["signature"]
        transit.create_key("gone", allow_plaintext_backup=True)
        backup = transit.backup_key("gone")["data"]["backup"]
        transit.update_key_configuration("gone", deletion_allowed=True)
        transit.delete_key("gone")
        calls: dict[str, tuple[Any, ...]] = {
            "create_key": ("another", None, None, None, True),
            "read_key": ("k",),
            "list_keys": (),
            "update_key_configuration": ("another", None, None, True),
            "rotate_key": ("k",),
            "export_key": ("k", "encryption-key"),
            "encrypt_data": ("k", TEXT),
            "decrypt_data": ("k", sealed),
            "rewrap_data": ("k", sealed),
            "generate_data_key": ("k", "plaintext"),
            "generate_random_bytes": (),
            "hash_data": (TEXT,),
            "generate_hmac": ("k", TEXT),
            "sign_data": ("s", TEXT),
            "verify_signed_data": ("s", TEXT, signed),
            "backup_key": ("another",),
            "restore_key": (backup,),
            "trim_key": ("k", 1),
            "delete_key": ("another",),
        }
        assert set(calls) == methods
        for name, arguments in calls.items():
            call = getattr(transit, name)
            if SURFACE[name] == REFUSED:
                with pytest.raises(InvalidRequest, match="not supported"):
                    call(*arguments)
            else:
                call(*arguments)
        public = client.read("transit/export/public-key/s")["data"]["keys"]["1"]
        assert public.startswith("-----BEGIN PUBLIC KEY-----")

    await run(work)


async def test_what_tools_ask_before_they_begin_is_answered(listener: Listener) -> None:
    client = await listener.client()

    def work() -> None:
        assert client.sys.read_health_status(method="GET")["sealed"] is False
        assert client.sys.is_initialized() is True
        assert client.sys.is_sealed() is False
        assert client.sys.read_leader_status()["ha_enabled"] is False
        mounted = client.sys.list_mounted_secrets_engines()
        assert mounted["transit/"]["type"] == mounted["data"]["transit/"]["type"] == "transit"
        assert client.sys.read_mount_configuration("transit")["data"]["max_lease_ttl"] == 0
        own = client.auth.token.lookup_self()["data"]
        assert (own["display_name"], own["policies"], own["ttl"]) == ("alice", ["security"], 600)
        assert own["expire_time"].endswith("Z")
        assert client.read("transit/cache-config")["data"]["size"] == 0
        client.write("transit/cache-config", size=0)
        with pytest.raises(InvalidRequest, match="not supported"):
            client.write("transit/cache-config", size=100)
        with pytest.raises(InvalidRequest, match="expires"):
            client.auth.token.renew_self()
        # What SOPS, cosign and Terraform's provider read of a key.
        client.secrets.transit.create_key("k", key_type="ecdsa-p256")
        read = client.read("transit/keys/k")["data"]
        assert (read["keys"]["1"]["name"], read["latest_version"]) == ("P-256", 1)
        digest = b64(hashlib.sha256(b"a text").digest())
        how = {"input": digest, "prehashed": True, "key_version": "0", "signature_algorithm": "pkcs1v15"}
        signed = client.write("transit/sign/k/sha2-256", **how)["data"]["signature"]
        how = {"input": digest, "prehashed": True, "signature": signed}
        assert client.write("transit/verify/k/sha2-256", **how)["data"]["valid"] is True

    await run(work)


async def test_what_would_change_an_answer_is_refused_and_not_overlooked(listener: Listener) -> None:
    client = await listener.client()

    def work() -> None:
        for headers in ({"X-Vault-Namespace": "team"}, {"X-Vault-Wrap-TTL": "60s"}):
            own = {"X-Vault-Token": client.token, **headers}
            url = f"{listener.url}/v1/transit/random"
            answer = requests.post(url, headers=own, timeout=30)
            assert answer.status_code == 400
            assert "not supported" in answer.text
        assert client.read("transit/config/keys")["data"]["disable_upsert"] is False
        client.write("transit/config/keys", disable_upsert=False)
        client.secrets.transit.create_key("k")
        for path, fields in (
            ("config/keys", {"disable_upsert": True}),
            ("keys/k/csr", {}),
            ("keys/k/import_version", {"version": 1}),
            ("keys/k/import_version", {"public_key": "x"}),
            ("keys/k/set-certificate", {}),
            ("keys/k/import", {"public_key": "x"}),
        ):
            with pytest.raises(InvalidRequest, match="not supported"):
                client.write(f"transit/{path}", **fields)

    await run(work)


async def test_a_token_ends_itself(listener: Listener) -> None:
    client = await listener.client()

    revoking = asyncio.ensure_future(run(client.auth.token.revoke_self))
    assert isinstance(listener.hsm.clock, ManualClock)
    while not revoking.done():  # a revocation waits until every door has heard of it
        await listener.hsm.clock.advance(1.0)
        await asyncio.wait([revoking], timeout=0.01)

    def work() -> None:
        with pytest.raises(Forbidden):
            client.secrets.transit.list_keys()

    await run(work)


async def test_while_the_hsm_is_away_the_server_is_sealed(listener: Listener) -> None:
    client = await listener.client()
    listener.hsm.kill("hsm/main")

    def work() -> None:
        assert client.sys.is_sealed() is True
        assert requests.get(f"{listener.url}/v1/sys/health", timeout=30).status_code == 503
        assert requests.get(f"{listener.url}/v1/sys/health?sealedcode=299", timeout=30).status_code == 299

    await run(work)


async def test_an_admin_seals_and_unseals_and_nobody_else(listener: Listener) -> None:
    user, admin = await listener.client(), await listener.client("admin", subject="root")

    def work() -> None:
        sealed = user.secrets.transit.encrypt_data("k", TEXT)["data"]["ciphertext"]
        with pytest.raises(Forbidden):
            user.sys.seal()
        admin.sys.seal()
        assert admin.sys.is_sealed() is True
        assert requests.get(f"{listener.url}/v1/sys/health", timeout=30).status_code == 503
        with pytest.raises(VaultDown, match="sealed"):
            user.secrets.transit.decrypt_data("k", sealed)
        with pytest.raises(InvalidRequest, match="not supported"):
            admin.sys.submit_unseal_key("a share")
        assert admin.write("sys/unseal", sealed=False)["sealed"] is False
        assert user.secrets.transit.decrypt_data("k", sealed)["data"]["plaintext"] == TEXT

    await run(work)


async def test_a_deleted_key_comes_back(listener: Listener) -> None:
    client, other = await listener.client(), await listener.client(subject="bob")
    transit = client.secrets.transit

    def work() -> None:
        sealed = transit.encrypt_data("k", TEXT)["data"]["ciphertext"]
        transit.update_key_configuration("k", deletion_allowed=True)
        client.delete("transit/keys/k/soft-delete")
        with pytest.raises(InvalidPath):
            transit.read_key("k")
        with pytest.raises(InvalidRequest, match="not found"):
            other.write("transit/keys/k/soft-delete-restore")
        client.write("transit/keys/k/soft-delete-restore")
        assert transit.decrypt_data("k", sealed)["data"]["plaintext"] == TEXT
        with pytest.raises(InvalidRequest, match="not found"):
            client.write("transit/keys/k/soft-delete-restore")

    await run(work)


async def test_errors_are_in_vaults_form(listener: Listener) -> None:
    client = await listener.client()
    headers = {"X-Vault-Token": client.token}

    def ask(method: str, path: str, **more: Any) -> requests.Response:
        return requests.request(method, f"{listener.url}{path}", timeout=30, **more)

    def work() -> None:
        for status, answer in (
            (403, ask("GET", "/v1/transit/keys/k")),
            (404, ask("GET", "/v1/transit/keys/k", headers=headers)),
            (404, ask("GET", "/v1/nowhere", headers=headers)),
            (405, ask("PATCH", "/v1/transit/keys/k", headers=headers)),
            (400, ask("POST", "/v1/transit/encrypt/k", headers=headers, data=b"{")),
            (400, ask("POST", "/v1/transit/encrypt/k", headers=headers, json=[1])),
            (400, ask("POST", "/v1/transit/encrypt/k", headers=headers, json={"plaintext": 5})),
            (400, ask("POST", "/v1/transit/keys/k", headers=headers, json={"type": "ml-dsa"})),
            (400, ask("POST", "/v1/transit/keys/k", headers=headers, json={"convergent_encryption": True})),
            (400, ask("GET", "/v1/transit/export/encryption-key/k", headers=headers)),
            (413, ask("POST", "/v1/transit/encrypt/k", headers=headers, data=b" " * (2 << 20))),
        ):
            assert answer.status_code == status, answer.text
            assert answer.headers["content-type"] == "application/json"
            assert isinstance(answer.json()["errors"], list)
        bearer = {"Authorization": f"Bearer {client.token}"}
        ask("POST", "/v1/transit/keys/k", headers=bearer, json={})
        listed = ask("GET", "/v1/transit/keys?list=true", headers=bearer)
        assert listed.json()["data"]["keys"] == ["k"]

    await run(work)
