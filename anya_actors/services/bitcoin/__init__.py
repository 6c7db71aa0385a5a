"""The use cases of the ``bitcoin`` actor: look at the chain, hold wallets, pay exactly once."""

from anya_actors.domain.bitcoin.orders import SendTerms, WalletOrder
from anya_actors.services.bitcoin.service import BitcoinService
from anya_actors.services.bitcoin.settings import BitcoinSettings

__all__ = ["BitcoinService", "BitcoinSettings", "SendTerms", "WalletOrder"]
