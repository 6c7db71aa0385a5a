"""Files of the machine, and logs kept in them."""
