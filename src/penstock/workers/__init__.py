# SPDX-License-Identifier: Apache-2.0
"""Child processes that run items for holders: graph sessions, later services and task farms.

Read `book.py` first (pure: what is sent to which slot, who is to blame), then `ledger.py` (items, costs,
holders, slots). The other modules do what the book decides and tell it what happened.
"""
