"""``python -m hone`` and ``torchrun -m hone``."""

import sys

from hone.cli import main

if __name__ == "__main__":
    sys.exit(main())
