# SPDX-License-Identifier: Apache-2.0
"""What this Blender cannot do, or a file that it cannot use: for the user to mend."""

from __future__ import annotations


class UnableError(Exception):
    """Answered as one row: what is wrong, where, and the mend."""

    def __init__(self, reason: str, where: str, mend: str):
        super().__init__(reason)
        self.row = {"status": "unable", "reason": reason, "where": where, "mend": mend}
