"""Paying silent payment addresses (BIP352) from a wallet: the outputs depend on the coins that pay them.

For each receiver's scan key and each input the key's holder multiplies that scan key by the input's
private key; what is done with the products here is public. A replacement must spend the same coins,
or the receivers would not find their outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from anya_actors.domain.bitcoin.account import branch_of
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.payment import PaymentInput, Recipient
from anya_actors.domain.bitcoin.script import p2tr_script
from anya_actors.domain.bitcoin.silent_address import SilentAddress, is_silent_address, parse_silent_address
from anya_actors.domain.bitcoin.silent_payments import SilentPaymentError, derive_outputs, share_of_input
from anya_actors.domain.bitcoin.taproot import tweak
from anya_actors.domain.bitcoin.transaction import Outpoint
from anya_actors.domain.bitcoin.wallet import Wallet
from anya_actors.domain.keys.curve import Point, sum_points
from anya_actors.domain.keys.operations import KeyPath


class ShareRequest(msgspec.Struct, frozen=True):
    """A product that the holder of ``key`` must make: the scan key times its private key at ``path``."""

    key: str
    path: KeyPath
    scan_key: bytes


def has_silent(recipients: Sequence[Recipient]) -> bool:
    """Whether any of them is paid by a silent payment."""
    return any(is_silent_address(one.address) for one in recipients)


def share_requests(
    wallet: Wallet, inputs: Sequence[PaymentInput], recipients: Sequence[Recipient]
) -> list[ShareRequest]:
    """Every product that these payments need, each once."""
    scan_keys = dict.fromkeys(one.scan_key.serialize() for one in _receivers(wallet, recipients))
    return [
        ShareRequest(spent.key, _path(wallet, spent), scan_key) for scan_key in scan_keys for spent in inputs
    ]


def with_silent_scripts(
    wallet: Wallet,
    inputs: Sequence[PaymentInput],
    recipients: Sequence[Recipient],
    products: Mapping[ShareRequest, bytes],
) -> tuple[Recipient, ...]:
    """The recipients with the output scripts that these inputs give them; raises `SilentPaymentError`."""
    receivers = _receivers(wallet, recipients)
    keys, shares = [_counted_key(wallet, spent) for spent in inputs], {}
    for scan_key in dict.fromkeys(one.scan_key.serialize() for one in receivers):
        shares[scan_key] = [
            _share(wallet, spent, scan_key, products[ShareRequest(spent.key, _path(wallet, spent), scan_key)])
            for spent in inputs
        ]
    outpoints = [Outpoint(Txid(spent.txid), spent.index) for spent in inputs]
    outputs = iter(derive_outputs(outpoints, keys, shares, receivers))
    return tuple(
        replace(one, script_pubkey=p2tr_script(next(outputs))) if is_silent_address(one.address) else one
        for one in recipients
    )


def _receivers(wallet: Wallet, recipients: Sequence[Recipient]) -> list[SilentAddress]:
    network = Network(wallet.network)
    found = [one.address for one in recipients if is_silent_address(one.address)]
    return [parse_silent_address(address, network) for address in found]


def _path(wallet: Wallet, spent: PaymentInput) -> KeyPath:
    if spent.tweak and wallet.silent is not None:
        return wallet.silent.spend_path
    if wallet.account is None or spent.branch < 0:
        return ()
    plan = branch_of(wallet.account.descriptor(spent.branch), Network(wallet.network)).plan(spent.place)
    return next(key.origin.path for key in plan.keys if key.public_key == spent.public_key)


def _is_taproot(spent: PaymentInput) -> bool:
    return spent.script_pubkey[:2] == b"\x51\x20"


def _root(wallet: Wallet, spent: PaymentInput) -> bytes:
    if wallet.account is None:
        return b""
    plan = branch_of(wallet.account.descriptor(spent.branch), Network(wallet.network)).plan(spent.place)
    return b"" if plan.taproot is None else plan.taproot.merkle_root


def _counted_key(wallet: Wallet, spent: PaymentInput) -> Point:
    """The public key by which the input counts: of taproot the output key, with an even y."""
    if _is_taproot(spent):
        return Point.from_x(spent.script_pubkey[2:])
    return Point.parse(spent.public_key)


def _share(wallet: Wallet, spent: PaymentInput, scan_key: bytes, product: bytes) -> Point:
    share = Point.parse(product)
    if not _is_taproot(spent):
        return share_of_input(share)
    # The holder multiplied by the internal key; the output's private key is that one with an even y,
    # plus the tweak, which is public (BIP341). Of a silent payment it is the spend key as it is, plus
    # the payment's tweak (BIP352).
    internal = Point.parse(spent.public_key)
    t = int.from_bytes(spent.tweak or tweak(internal.x, _root(wallet, spent)), "big")
    if not spent.tweak and not internal.has_even_y:
        internal, share = internal.negate(), share.negate()
    tweaked = sum_points([share, Point.parse(scan_key).times(t)])
    output_key = internal.plus(t)
    if tweaked is None or output_key is None:
        raise SilentPaymentError("the inputs", "an output key is infinity")
    return share_of_input(tweaked, output_key)
