"""A debugger that goes both ways: session (state), panes (views), commands, terminal loop."""
