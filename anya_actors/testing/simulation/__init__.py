"""A whole system of many actors in one thread, driven by a seed: faults at will, replayed exactly.

Services reach time, chance, disk and network only through ports. Here each port is simulated: one
seeded event loop runs every process of every machine in virtual time, disks lose what was not
synced, the network delays, drops, doubles and partitions, and processes die at any write. The
practice is that of FoundationDB's and TigerBeetle's simulators.

Run ``python -m anya_actors.testing.simulation --seeds 1000``; a failing seed is printed, and
``--seed N --trace`` replays it.
"""
