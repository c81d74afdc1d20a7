"""``python -m perimortem``."""

from perimortem.cli.main import main

main()
