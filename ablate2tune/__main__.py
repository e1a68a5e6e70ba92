"""`python -m ablate2tune`, and `accelerate launch ablate2tune` which runs this directory.

A directory launch puts the package folder itself first on `sys.path`: there `import ablate2tune`
fails and the package's modules would shadow the standard library, so that entry is swapped for
the parent folder before anything else is imported.
"""

import sys

if not __package__:
    sys.path[0] = sys.path[0].rstrip("/\\").rpartition("/")[0] or "."

from ablate2tune.cli import main

main()
