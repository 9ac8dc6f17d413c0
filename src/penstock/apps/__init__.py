# SPDX-License-Identifier: Apache-2.0
"""The stock apps: copying and waiting, arrays, scatter and gather, branches, Python functions, bash commands.

Each module lists its classes in `__all__`. Nothing here may know a session or a manager: an app sees its
drops through `penstock.drops` alone. Read `basic.py` first for the manner, `python.py` and `shell.py` for
the two apps that most graphs are made of.
"""
