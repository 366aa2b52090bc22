"""`python -m costtrack` runs the console script `costtrack`."""

import sys

from costtrack.cli import main

if __name__ == "__main__":
    sys.exit(main())
