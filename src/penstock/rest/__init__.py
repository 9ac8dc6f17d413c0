# SPDX-License-Identifier: Apache-2.0
"""The HTTP face of any manager, and the client that is a manager itself."""
