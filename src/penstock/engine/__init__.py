# SPDX-License-Identifier: Apache-2.0
"""What a graph does: pure decisions about states. No thread, clock, file or log in here.

Read `states.py`, then `flow.py` (the table of integers), `transitions.py` and `rules.py` (the rare rules).
A session over several nodes: `part.py` (the borders of one node), `outbox.py` (a stream of messages), `whole.py` (what
the owner sees).
"""
