"""How files come over the network: one process at a time, in parts that outlive it, and one line
for each fault.

To add a fault: a case in `faults.explained`.
"""
