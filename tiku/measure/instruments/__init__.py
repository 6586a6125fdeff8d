"""The instruments. Each public file is one: adding an instrument is adding a file."""
