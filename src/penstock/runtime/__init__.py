# SPDX-License-Identifier: Apache-2.0
"""Graphs at work: one session on one node.

Read `session.py` (the session), `build.py` (a graph made ready), `run.py` (slots and batches).
"""
