"""One file per method; the folders are topics. Each module exports `METHOD`."""
