"""The tour that ``anya demo`` and ``make demo`` take: real work on a real platform, step by step."""
