#!/usr/bin/env python
"""Entry to every command of the back office: `manage.py help` lists them."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backoffice.settings")
    from backoffice.commands import run

    run(sys.argv)


if __name__ == "__main__":
    main()
