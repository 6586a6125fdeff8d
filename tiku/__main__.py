"""`python -m tiku`: the command line where the script is not on the path."""

from tiku.cli import main

main()
