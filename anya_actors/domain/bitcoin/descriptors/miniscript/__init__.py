"""Miniscript (BIP379): scripts that can be analysed, composed and satisfied by rule."""
