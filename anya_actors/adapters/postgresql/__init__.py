"""State in PostgreSQL: reachable from every node of a cluster, one writer by fencing epoch."""
