"""What a list of transactions must be to be judged together (Core, ``policy/packages.cpp``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from anya_actors.domain.bitcoin.errors import RejectedPackageError
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction

MAX_PACKAGE_COUNT: Final = 25
MAX_PACKAGE_WEIGHT: Final = 404_000


def verify_package(package: Sequence[Transaction]) -> None:
    """Raise `RejectedPackageError` for a package that is too large, unsorted or inconsistent."""
    if len(package) > MAX_PACKAGE_COUNT:
        raise RejectedPackageError("package-too-many-transactions")
    weight = sum(transaction.weight for transaction in package)
    if len(package) > 1 and weight > MAX_PACKAGE_WEIGHT:
        raise RejectedPackageError("package-too-large")
    if len({transaction.txid for transaction in package}) < len(package):
        raise RejectedPackageError("package-contains-duplicates")
    if not _is_sorted(package):
        raise RejectedPackageError("package-not-sorted")
    if not _is_consistent(package):
        raise RejectedPackageError("conflict-in-package")


def _is_sorted(package: Sequence[Transaction]) -> bool:
    later = {transaction.txid for transaction in package}
    for transaction in package:
        if any(tx_input.prevout.txid in later for tx_input in transaction.inputs):
            return False
        later.discard(transaction.txid)
    return True


def _is_consistent(package: Sequence[Transaction]) -> bool:
    """No two spend the same. A transaction that spends one output twice is another's concern."""
    seen: set[Outpoint] = set()
    for transaction in package:
        spent = {tx_input.prevout for tx_input in transaction.inputs}
        if not spent or spent & seen:
            return False
        seen |= spent
    return True


def is_child_with_parents(package: Sequence[Transaction]) -> bool:
    """Whether the last one spends from each of the others."""
    if len(package) < 2:
        return False
    spent = {tx_input.prevout.txid for tx_input in package[-1].inputs}
    return all(parent.txid in spent for parent in package[:-1])


def is_tree(package: Sequence[Transaction]) -> bool:
    """Whether it is a child with parents, none of which spends from another."""
    parents = {parent.txid for parent in package[:-1]}
    return is_child_with_parents(package) and not any(
        tx_input.prevout.txid in parents for parent in package[:-1] for tx_input in parent.inputs
    )
