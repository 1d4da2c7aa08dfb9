"""`python -m flm` is `flm`."""

from flm.cli import main

if __name__ == "__main__":
    main()
