# SPDX-License-Identifier: Apache-2.0
"""Who is there and who holds what until when; pure. Times come in as arguments."""
