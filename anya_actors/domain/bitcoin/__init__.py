"""Bitcoin's rules: amounts, transactions, scripts, addresses, blocks."""
