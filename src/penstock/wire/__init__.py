# SPDX-License-Identifier: Apache-2.0
"""How user data travels between the processes of one host: blocks of shared memory, and messages that name them.

Read `arena.py` (where bytes are and who may still look at them) and `attached.py` (the children's side), then
`payload.py` (values, functions and errors as messages). `extents.py` and `segment.py` are the arena's insides,
`pickling.py`, `culprit.py` and `functions.py` those of messages. Nothing here knows drops, sockets or workers.
"""
