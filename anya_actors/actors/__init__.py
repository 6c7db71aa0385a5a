"""One thin Ray shell a service. What all shells share stands in ``shell``."""
