"""Messages signed by an address of a wallet (BIP322), and signatures verified."""

from __future__ import annotations

from anya_actors.domain.bitcoin.account import CHANGE, RECEIVE, branch_of
from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.script import ScriptType, classify
from anya_actors.domain.bitcoin.signed_message import assemble_signature, digest_to_sign, verify_message
from anya_actors.domain.bitcoin.views import MessageView, SignedMessageView
from anya_actors.domain.bitcoin.wallet import Wallet, check_wallet_name
from anya_actors.domain.bitcoin.wallet_scripts import key_script
from anya_actors.domain.keys.operations import SignRequest
from anya_actors.domain.machine import AnyaError, InvalidInputError, NotSupportedError
from anya_actors.ports.signer import Signer
from anya_actors.services.bitcoin.ledger import Ledger

MAX_MESSAGE_BYTES = 10_000


class NotOurAddressError(AnyaError):
    """An address that the wallet has not given out and does not hold."""

    code = "not-our-address"
    message = "the wallet {} does not hold the address {}"
    remedy = "Name an address of this wallet, or another wallet."

    def __init__(self, wallet: str, address: str) -> None:
        super().__init__(wallet, address)


class Messages:
    """Each method as `BitcoinActor` serves it."""

    def __init__(self, ledger: Ledger, signer: Signer, network: Network) -> None:
        self._ledger, self._signer, self._network = ledger, signer, network

    async def sign(self, wallet: str, address: str, message: str) -> SignedMessageView:
        """Sign by the key of one of the wallet's addresses.

        Raises `UnknownWalletError`, `AddressError`, `NotOurAddressError`, `NotSupportedError`.
        """
        found = await self._ledger.wallet(check_wallet_name(wallet))
        script, content = parse_address(address, self._network), _content(message)
        key, public_key, path = self._key_of(found, script, address)
        digest = digest_to_sign(content, script, public_key)
        taproot = classify(script) is ScriptType.WITNESS_V1_TAPROOT
        algorithm = "schnorr-bip340" if taproot else "ecdsa-secp256k1"
        request = SignRequest(key, digest, algorithm, path, b"" if taproot else None)
        (signature,) = await self._signer.sign_many([request])
        text = assemble_signature(content, script, public_key, signature)
        # What the HSM answered is not believed unseen.
        verify_message(content, address, text, self._network)
        return SignedMessageView(address, message, text)

    def verify(self, address: str, message: str, signature: str) -> MessageView:
        """What it shows; raises `SignedMessageError`, `InconclusiveMessageError`, `AddressError`."""
        parse_address(address, self._network)
        valid = verify_message(_content(message), address, signature, self._network)
        coins = tuple(str(coin) for coin in valid.coins)
        return MessageView(address, valid.variant, valid.lock_time, valid.sequence, coins)

    def _key_of(self, wallet: Wallet, script: bytes, address: str) -> tuple[str, bytes, tuple[int, ...]]:
        for key in wallet.keys:
            if key_script(key.public_key) == script:
                return key.name, key.public_key, ()
        account = wallet.account
        if account is None:
            raise NotOurAddressError(wallet.name, address)
        if not account.key:
            raise NotSupportedError("signing in a watch-only wallet", "its keys are elsewhere")
        for branch in (RECEIVE, CHANGE):
            derived = branch_of(account.descriptor(branch), self._network)
            place = derived.find(script, account.horizon(branch))
            if place is not None:
                keys = derived.plan(place).keys
                if len(keys) != 1 or keys[0].origin.fingerprint != account.fingerprint:
                    raise NotSupportedError("signing a message by several signers", "sign its PSBT instead")
                return account.key, keys[0].public_key, keys[0].origin.path
        raise NotOurAddressError(wallet.name, address)


def _content(message: str) -> bytes:
    content = message.encode("utf-8", "surrogatepass")
    if len(content) > MAX_MESSAGE_BYTES:
        raise InvalidInputError("message", f"it has more than {MAX_MESSAGE_BYTES} bytes")
    return content
