"""Networks and data sets by name: those that come with apsim, and files."""
