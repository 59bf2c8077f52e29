import sys

from zettel.cli import main

sys.exit(main())
