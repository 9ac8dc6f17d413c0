# SPDX-License-Identifier: Apache-2.0
"""How bytes travel: between the processes of one host by shared memory, between nodes by sockets.

On one host, read `arena.py` (where bytes are and who may still look at them) and `attached.py` (the children's side),
then `payload.py` (values, functions and errors as messages). `extents.py` and `segment.py` are the arena's insides,
`pickling.py`, `culprit.py` and `functions.py` those of messages.

Between nodes, read `loop.py` (the one thread that owns the sockets) and `framing.py` (what a message is), then what
is built on them: `rpc.py` (calls), `facts.py` (how drops ended), `data.py` (contents) and `streams.py`. `listener.py`
and `dialer.py` are the two ends of every connection, `security.py` and `gate.py` say who may connect, `faults.py`
carries errors. Nothing of this unpickles, and nothing here knows drops or workers.
"""
