# SPDX-License-Identifier: Apache-2.0
"""The composition root: from settings to wired processes. The only room that wires."""
