"""Bitcoin's encrypted transport between peers (BIP324), as a codec. No peer is served here."""
