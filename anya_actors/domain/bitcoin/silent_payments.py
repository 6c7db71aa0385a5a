"""Silent payments (BIP352): deriving outputs for a receiver's address, and finding one's own.

The public side. Products of private keys with points are taken as points, so that whoever holds the
keys (an HSM) makes them; `silent_payment_keys` is what runs there. The letters are the BIP's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from anya_actors.domain.bitcoin.script import ScriptType, classify, hash160, witness_program
from anya_actors.domain.bitcoin.silent_address import SilentAddress
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.domain.bitcoin.wire import u32
from anya_actors.domain.keys.curve import ORDER, CurveError, Point, sum_points, tagged_scalar
from anya_actors.domain.machine import InvalidInputError

K_MAX: Final = 2323
"""Outputs to one scan key in one transaction; more do not fit a standard transaction (BIP352)."""
CHANGE_LABEL: Final = 0
"""The label no address is published with: it marks the sender's own change."""

NUMS_KEY: Final = bytes.fromhex("50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0")
"""BIP341's point whose private key nobody knows: an input with it inside has no key path."""
_ANNEX: Final = 0x50


class SilentPaymentError(InvalidInputError):
    """Coins or receivers that no silent payment can be made with."""

    code = "invalid-silent-payment"
    message = "{} cannot make a silent payment: {}"
    remedy = "Choose other coins to spend, or pay fewer outputs at once."


@dataclass(frozen=True)
class Label:
    """What sets the payments to one labelled address apart: ``scalar`` times G was added to its spend key."""

    number: int
    scalar: int

    @property
    def point(self) -> Point:
        return Point.of_scalar(self.scalar)

    def address(self, unlabelled: SilentAddress) -> SilentAddress:
        """The address to publish under this label."""
        labelled = unlabelled.spend_key.plus(self.scalar)
        if labelled is None:
            raise SilentPaymentError("the label", "its address would be infinity")
        return SilentAddress(unlabelled.scan_key, labelled)


@dataclass(frozen=True)
class FoundOutput:
    """An output that is ours. Its private key is the spend key's plus ``tweak``."""

    output_key: bytes
    tweak: int
    label: int | None = None


def input_key(spent: TxOutput, tx_input: TxInput) -> Point | None:
    """The public key by which an input counts towards the secret, or None if it does not count.

    P2PKH, P2WPKH, P2SH-P2WPKH with compressed keys, and P2TR (BIP352, inputs for shared secret
    derivation). The input is signed already; a sender who plans one gives the key himself.
    """
    script, kind = spent.script_pubkey, classify(spent.script_pubkey)
    if kind is ScriptType.PUBKEYHASH:
        return _key_in_script_sig(script[3:23], tx_input.script_sig)
    if kind is ScriptType.WITNESS_V1_TAPROOT:
        return _taproot_key(script[2:], tx_input.witness)
    if kind is ScriptType.SCRIPTHASH:
        program = witness_program(tx_input.script_sig[1:])
        if program is None or program[0] != 0 or len(program[1]) != 20:
            return None
    elif kind is not ScriptType.WITNESS_V0_KEYHASH:
        return None
    return compressed_point(tx_input.witness[-1]) if tx_input.witness else None


def compressed_point(data: bytes) -> Point | None:
    """The point of 33 bytes, or None for any others."""
    try:
        return Point.parse(data) if len(data) == 33 else None
    except CurveError:
        return None


def _key_in_script_sig(key_hash: bytes, script_sig: bytes) -> Point | None:
    # Third parties may rearrange such a script: the key is wherever its hash says (BIP352).
    for end in range(len(script_sig), 32, -1):
        candidate = script_sig[end - 33 : end]
        if candidate[0] in (2, 3) and hash160(candidate) == key_hash:
            return compressed_point(candidate)
    return None


def _taproot_key(output_key: bytes, witness: tuple[bytes, ...]) -> Point | None:
    stack = list(witness)
    if len(stack) > 1 and stack[-1][:1] == bytes((_ANNEX,)):
        stack.pop()
    if not stack:
        return None
    if len(stack) > 1:
        control_block = stack[-1]
        depth, rest = divmod(len(control_block) - 33, 32)
        if rest or not 0 <= depth <= 128 or control_block[1:33] == NUMS_KEY:
            return None
    return compressed_point(b"\x02" + output_key)


def _input_hash(outpoints: Sequence[Outpoint], total: Point) -> int:
    smallest = min(outpoint.txid + u32(outpoint.index) for outpoint in outpoints)
    scalar = tagged_scalar("BIP0352/Inputs", smallest + total.serialize())
    if not scalar:
        raise SilentPaymentError("the inputs", "their hash is zero")
    return scalar


def tweak_of(outpoints: Sequence[Outpoint], keys: Sequence[Point]) -> Point | None:
    """The one point of a transaction that every receiver scans with: input_hash·A (the "tweak data").

    ``outpoints`` are those of all inputs, ``keys`` those of the inputs that count. None if no input
    counts, or if their keys cancel out.
    """
    A = sum_points(keys)
    return None if A is None else A.times(_input_hash(outpoints, A))


def tweak_of_transaction(transaction: Transaction, spent: Sequence[TxOutput]) -> Point | None:
    """The same of a whole transaction; None also where no receiver needs to look.

    ``spent`` are the outputs that the inputs spend. Skipped are transactions without taproot
    outputs, and those that spend a witness program of the future (BIP352, scanning).
    """
    if transaction.is_coinbase or not taproot_keys(transaction):
        return None
    if any((program := witness_program(coin.script_pubkey)) and program[0] > 1 for coin in spent):
        return None
    pairs = zip(spent, transaction.inputs, strict=True)
    keys = [key for coin, tx_input in pairs if (key := input_key(coin, tx_input))]
    return tweak_of([tx_input.prevout for tx_input in transaction.inputs], keys)


def taproot_keys(transaction: Transaction) -> list[bytes]:
    """The x-only keys of all taproot outputs, in their order."""
    scripts = [output.script_pubkey for output in transaction.outputs]
    return [script[2:] for script in scripts if classify(script) is ScriptType.WITNESS_V1_TAPROOT]


def share_of_input(share: Point, output_key: Point | None = None) -> Point:
    """One input's part of a receiver's secret: its private key times his scan key.

    ``share`` is that product as the key's holder made it. For P2TR give the output key, as it is
    with its y: both sides must use the private key whose point has an even y.
    """
    return share.negate() if output_key is not None and not output_key.has_even_y else share


def derive_outputs(
    outpoints: Sequence[Outpoint],
    keys: Sequence[Point],
    shares: Mapping[bytes, Sequence[Point]],
    receivers: Sequence[SilentAddress],
) -> list[bytes]:
    """The x-only output key for each receiver, in their order (BIP352, creating outputs).

    ``keys`` are the public keys of the inputs that count (P2TR with an even y), ``outpoints`` those of
    all inputs. ``shares`` holds for each receiver's scan key (33 bytes) the parts of all those inputs,
    by `share_of_input`. Raises `SilentPaymentError`.
    """
    A = sum_points(keys)
    if A is None:
        raise SilentPaymentError("the inputs", "none counts, or their keys cancel out")
    input_hash = _input_hash(outpoints, A)
    secrets: dict[bytes, Point] = {}
    counts: dict[bytes, int] = {}
    outputs = []
    for receiver in receivers:
        scan_key = receiver.scan_key.serialize()
        if scan_key not in secrets:
            secrets[scan_key] = _shared_secret(shares.get(scan_key, ()), len(keys), input_hash)
        k = counts.get(scan_key, 0)
        if k >= K_MAX:
            raise SilentPaymentError("the receivers", f"one of them is paid more than {K_MAX} times")
        counts[scan_key] = k + 1
        P = receiver.spend_key.plus(_output_scalar(secrets[scan_key], k))
        if P is None:
            raise SilentPaymentError("the receivers", "an output would be infinity")
        outputs.append(P.x)
    return outputs


def _shared_secret(shares: Sequence[Point], expected: int, input_hash: int) -> Point:
    if len(shares) != expected:
        raise SilentPaymentError(
            "the inputs", f"{expected} of them count, but {len(shares)} shares are there"
        )
    total = sum_points(shares)
    secret = None if total is None else total.times(input_hash)
    if secret is None:
        raise SilentPaymentError("the inputs", "their shares cancel out")
    return secret


def _output_scalar(secret: Point, k: int) -> int:
    """The BIP's t_k."""
    return tagged_scalar("BIP0352/SharedSecret", secret.serialize() + k.to_bytes(4, "big"))


def scan_outputs(
    secret: Point, spend_key: Point, output_keys: Sequence[bytes], labels: Sequence[Label] = ()
) -> list[FoundOutput]:
    """Our outputs among all taproot outputs of one transaction (BIP352, scanning).

    ``secret`` is the scan key times the transaction's tweak (`tweak_of`), ``spend_key`` the unlabelled
    one. ``labels`` must hold the change label if change was ever sent to oneself. An output found stays
    found whatever its amount: skipping one would lose all after it.
    """
    remaining = list(output_keys)
    by_point = {label.point.serialize(): label for label in labels}
    found: list[FoundOutput] = []
    for k in range(K_MAX):
        t = _output_scalar(secret, k)
        P = spend_key.plus(t)
        match = None if P is None else _match(P, t, remaining, by_point)
        if match is None:
            break
        remaining.remove(match.output_key)
        found.append(match)
    return found


def _match(P: Point, t: int, remaining: Sequence[bytes], labels: Mapping[bytes, Label]) -> FoundOutput | None:
    if P.x in remaining:
        return FoundOutput(P.x, t)
    if len(labels) <= 2 * len(remaining):
        # Few labels: one addition for each, whatever the number of outputs.
        for label in labels.values():
            labelled = P.plus(label.scalar)
            if labelled is not None and labelled.x in remaining:
                return FoundOutput(labelled.x, (t + label.scalar) % ORDER, label.number)
        return None
    for output_key in remaining:
        # Many labels: what the output has over P must be a label's point, by one or the other y.
        output = compressed_point(b"\x02" + output_key)
        for candidate in () if output is None else (output, output.negate()):
            difference = sum_points([candidate, P.negate()])
            known = None if difference is None else labels.get(difference.serialize())
            if known is not None:
                return FoundOutput(output_key, (t + known.scalar) % ORDER, known.number)
    return None
