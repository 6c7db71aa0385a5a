"""The use cases of the ``bitcoin`` actor: look at the chain, hold wallets, pay exactly once."""

from anya_actors.services.bitcoin.payments import SendTerms
from anya_actors.services.bitcoin.service import BitcoinService
from anya_actors.services.bitcoin.settings import BitcoinSettings
from anya_actors.services.bitcoin.wallets import WalletOrder

__all__ = ["BitcoinService", "BitcoinSettings", "SendTerms", "WalletOrder"]
