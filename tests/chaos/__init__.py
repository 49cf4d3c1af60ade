"""Abuse and faults beside a plain stream: `make test-chaos` for 20 minutes, `test_chaos.py` in
brief.
"""
