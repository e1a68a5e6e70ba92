# SPDX-License-Identifier: Apache-2.0
"""Grey ground under one sky, as in the plain world."""

from . import World

WORLD = World("plain", "", ())
