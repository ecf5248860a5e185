"""``python -m risedb``."""

from risedb.cli import main

if __name__ == "__main__":
    main()
