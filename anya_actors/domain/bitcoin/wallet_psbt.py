"""PSBTs of a wallet: made from its coins, described by its descriptors, and looked at before signing.

A signer believes its own wallet and no PSBT: it signs inputs whose scripts the wallet's descriptors
give, with the keys that they name, for the amounts that its coins have; and an output counts as
its own only if the descriptors give its script.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from anya_actors.domain.bitcoin.account import CHANGE, branch_of
from anya_actors.domain.bitcoin.address import encode_address
from anya_actors.domain.bitcoin.descriptors import ScriptPlan
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.payment import PaymentInput
from anya_actors.domain.bitcoin.payment_plan import PaymentPlan, bare_transaction
from anya_actors.domain.bitcoin.psbt import Psbt
from anya_actors.domain.bitcoin.psbt.errors import PsbtInputError, PsbtStateError
from anya_actors.domain.bitcoin.psbt.finalize import finalize_what_is_complete
from anya_actors.domain.bitcoin.psbt.roles import create_psbt, extract_transaction
from anya_actors.domain.bitcoin.psbt.update import update_psbt, with_utxos, with_witness_utxos
from anya_actors.domain.bitcoin.script import ScriptType, classify
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.domain.bitcoin.views import PsbtInputView, PsbtOutputView, PsbtView
from anya_actors.domain.bitcoin.wallet import ChangeOutput, Wallet
from anya_actors.domain.bitcoin.wallet_scripts import ScriptFinder
from anya_actors.domain.machine import NotSupportedError

Find = Callable[[bytes], ScriptPlan | None]
_WITNESS = (ScriptType.WITNESS_V0_KEYHASH, ScriptType.WITNESS_V0_SCRIPTHASH, ScriptType.WITNESS_V1_TAPROOT)


def finder_of(wallet: Wallet) -> Find:
    """From a script to what the wallet's descriptors know of it; raises `NotSupportedError` without any."""
    account, finder = wallet.account, ScriptFinder(wallet)
    if account is None:
        raise NotSupportedError("PSBTs of a wallet without descriptors", "move its coins to a newer wallet")

    def find(script_pubkey: bytes) -> ScriptPlan | None:
        found = finder.find(script_pubkey)
        if found is None or found[0] < 0:
            return None
        branch, place = found
        return branch_of(account.descriptor(branch), Network(wallet.network)).plan(place)

    return find


def funded_psbt(
    wallet: Wallet,
    plan: PaymentPlan,
    change: ChangeOutput | None,
    version: int,
    parents: dict[bytes, Transaction],
) -> Psbt:
    """A PSBT of the plan, with everything that signers want to know.

    ``parents`` are the whole transactions, by txid, that inputs without a witness spend.
    """
    if any(one.tweak for one in plan.inputs):
        raise NotSupportedError("coins of silent payments in a PSBT", "name other coins, or pay by send")
    outputs = [TxOutput(one.amount_sat, one.script_pubkey) for one in plan.recipients]
    if plan.needs_change:
        if change is None:
            raise PsbtStateError("created", "it needs a change output")
        outputs.append(TxOutput(plan.selection.change_sat, change.script_pubkey))
    whole = bare_transaction(plan.inputs, outputs)
    unsigned = tuple(TxInput(one.prevout, b"", one.sequence) for one in whole.inputs)
    psbt = create_psbt(Transaction(whole.version, unsigned, whole.outputs, whole.lock_time), version)
    psbt = with_utxos(psbt, parents)
    psbt = with_witness_utxos(psbt, {_prevout(one): _spent(one) for one in plan.inputs if _has_witness(one)})
    return update_psbt(psbt, finder_of(wallet))


def described(wallet: Wallet, psbt: Psbt) -> Psbt:
    """The PSBT with what the wallet knows of it; raises `PsbtInputError` if it lies about our coins."""
    coins = {coin.outpoint: coin for coin in (*wallet.coins, *wallet.spendable_change())}
    known: dict[Outpoint, TxOutput] = {}
    for index in range(len(psbt.inputs)):
        prevout, stated = psbt.prevout(index), psbt.spent_output(index)
        coin = coins.get((bytes(prevout.txid), prevout.index))
        if coin is None:
            continue
        output = TxOutput(coin.amount_sat, coin.script_pubkey)
        if stated is not None and stated != output:
            raise PsbtInputError("signed", "amount or script are not those of the wallet's coin", index)
        if stated is None and classify(coin.script_pubkey) in _WITNESS:
            known[prevout] = output
    return update_psbt(with_witness_utxos(psbt, known), finder_of(wallet))


def own_inputs(wallet: Wallet, psbt: Psbt) -> Iterator[int]:
    """The inputs that spend scripts of the wallet."""
    find = finder_of(wallet)
    for index in range(len(psbt.inputs)):
        output = psbt.spent_output(index)
        if output is not None and find(output.script_pubkey) is not None:
            yield index


def legacy_parents(inputs: Iterable[PaymentInput]) -> set[Txid]:
    """The transactions that must be in the PSBT whole (BIP174): those whose outputs have no witness."""
    return {Txid(one.txid) for one in inputs if not _has_witness(one)}


def psbt_view(wallet: Wallet | None, psbt: Psbt, network: Network) -> PsbtView:
    """What the PSBT does, seen from the wallet if one is given."""
    final, is_complete = finalize_what_is_complete(psbt)
    signed = extract_transaction(final, max_feerate_sat_per_kvb=None) if is_complete else None
    finder = None if wallet is None else ScriptFinder(wallet)
    return PsbtView(
        psbt=psbt.to_base64(),
        version=psbt.version,
        txid=str((signed or psbt.unsigned_transaction).txid),
        complete=is_complete,
        fee_sat=psbt.fee_sat(),
        inputs=tuple(_input_views(psbt, final, finder, network)),
        outputs=tuple(_output_views(psbt, finder, network)),
        hex=None if signed is None else signed.serialize().hex(),
    )


def _input_views(
    psbt: Psbt, final: Psbt, finder: ScriptFinder | None, network: Network
) -> Iterator[PsbtInputView]:
    for index, held in enumerate(psbt.inputs):
        output = psbt.spent_output(index)
        script = b"" if output is None else output.script_pubkey
        signatures = len(held.partial_signatures) + len(held.tap_script_signatures)
        yield PsbtInputView(
            outpoint=str(psbt.prevout(index)),
            amount_sat=None if output is None else output.amount_sat,
            address=encode_address(script, network),
            ours=finder is not None and finder.find(script) is not None,
            complete=final.inputs[index].is_final,
            signatures=signatures + (held.tap_key_signature is not None),
        )


def _output_views(psbt: Psbt, finder: ScriptFinder | None, network: Network) -> Iterator[PsbtOutputView]:
    for output in psbt.unsigned_transaction.outputs:
        place = None if finder is None else finder.find(output.script_pubkey)
        yield PsbtOutputView(
            amount_sat=output.amount_sat,
            address=encode_address(output.script_pubkey, network),
            script_pubkey=output.script_pubkey.hex(),
            ours=place is not None,
            change=place is not None and place[0] == CHANGE,
        )


def _prevout(one: PaymentInput) -> Outpoint:
    return Outpoint(Txid(one.txid), one.index)


def _spent(one: PaymentInput) -> TxOutput:
    return TxOutput(one.amount_sat, one.script_pubkey)


def _has_witness(one: PaymentInput) -> bool:
    # A nested witness program hides behind P2SH: its redeem script says so.
    return classify(one.redeem_script or one.script_pubkey) in _WITNESS
