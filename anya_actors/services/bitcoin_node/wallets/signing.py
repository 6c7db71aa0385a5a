"""Signing with private keys in this process's memory: of the node's regtest wallets, or of a call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from coincurve import PrivateKey
from msgspec.structs import replace

from anya_actors.domain.bitcoin.psbt import Psbt, PsbtStateError
from anya_actors.domain.bitcoin.psbt.finalize import finalize_what_is_complete
from anya_actors.domain.bitcoin.psbt.roles import create_psbt
from anya_actors.domain.bitcoin.psbt.sign import SignatureRequest, input_requests, with_signature
from anya_actors.domain.bitcoin.psbt.update import Find, update_psbt, with_utxos, with_witness_utxos
from anya_actors.domain.bitcoin.sighash import Sighash
from anya_actors.domain.bitcoin.taproot import tweak
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxOutput
from anya_actors.domain.keys.curve import Point, add_to_secret, negate_secret, sign_ecdsa
from anya_actors.domain.keys.secret import Secret

ALL_SIGHASHES = frozenset(Sighash)


class LocalKeys:
    """Private keys by their public keys. Its repr shows how many; `wipe` ends it."""

    def __init__(self, keys: Iterable[tuple[bytes, Secret]] = ()) -> None:
        self._secrets: dict[bytes, Secret] = {}
        for public_key, secret in keys:
            self.add(public_key, secret)

    def __repr__(self) -> str:
        return f"LocalKeys({len(self._secrets)})"

    def __len__(self) -> int:
        return len(self._secrets)

    def add(self, public_key: bytes, secret: Secret) -> None:
        self._secrets[public_key] = secret

    def wipe(self) -> None:
        for secret in self._secrets.values():
            secret.wipe()
        self._secrets.clear()

    def _secret(self, key: bytes) -> Secret | None:
        if len(key) == 32:
            return self._secrets.get(b"\x02" + key) or self._secrets.get(b"\x03" + key)
        return self._secrets.get(key)

    def sign_psbt(self, psbt: Psbt) -> Psbt:
        """Every signature added that these keys can give; inputs that do not fit stay as they are."""
        for index, held in enumerate(psbt.inputs):
            if held.is_final:
                continue
            try:
                requests = list(
                    input_requests(
                        psbt,
                        index,
                        lambda key, _: self._secret(key) is not None,
                        public_keys=tuple(self._secrets),
                        sighashes=ALL_SIGHASHES,
                    )
                )
            except PsbtStateError:
                continue
            for request in requests:
                psbt = with_signature(psbt, request, self._sign(request))
        return psbt

    def _sign(self, request: SignatureRequest) -> bytes:
        held = self._secret(request.public_key)
        if held is None:
            raise KeyError(request.public_key.hex())
        with Secret(bytearray(held.buffer)) as secret:
            if request.algorithm == "ecdsa":
                return sign_ecdsa(secret, request.digest, low_r=True)
            if request.merkle_root is not None:
                point = Point.of_secret(secret)
                if not point.has_even_y:
                    negate_secret(secret)
                add_to_secret(secret, int.from_bytes(tweak(point.x, request.merkle_root), "big"))
            return bytes(PrivateKey(bytes(secret.buffer)).sign_schnorr(request.digest, bytes(32)))


def as_psbt(
    transaction: Transaction,
    previous: Mapping[bytes, Transaction],
    outputs: Mapping[Outpoint, TxOutput],
    find: Find,
) -> Psbt:
    """A PSBT of a transaction with all that is known of what it spends; signatures are left out."""
    bare = tuple(replace(tx_input, script_sig=b"", witness=()) for tx_input in transaction.inputs)
    unsigned = Transaction(transaction.version, bare, transaction.outputs, transaction.lock_time)
    psbt = with_utxos(create_psbt(unsigned), previous)
    missing = {
        outpoint: output for outpoint, output in outputs.items() if bytes(outpoint.txid) not in previous
    }
    return update_psbt(with_witness_utxos(psbt, missing), find)


def finalized(psbt: Psbt, transaction: Transaction) -> Transaction:
    """The transaction with each input that the PSBT completes; others stay as they are."""
    psbt, _ = finalize_what_is_complete(psbt)
    inputs = [
        replace(tx_input, script_sig=held.final_script_sig or b"", witness=held.final_script_witness or ())
        if held.is_final
        else tx_input
        for tx_input, held in zip(transaction.inputs, psbt.inputs, strict=True)
    ]
    return Transaction(transaction.version, tuple(inputs), transaction.outputs, transaction.lock_time)
