"""The embedded node's Esplora REST API, as Blockstream's electrs serves it for Bitcoin."""
