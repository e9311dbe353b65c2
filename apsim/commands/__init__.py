"""One module for each verb of the command line; `apsim.cli` says how they are called."""
