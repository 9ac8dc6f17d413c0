# SPDX-License-Identifier: Apache-2.0
"""What a graph does: pure decisions about states. No thread, clock, file or log in here.

Read `states.py`, then `flow.py` (the table of integers), then `rules.py` (the rare rules).
"""
