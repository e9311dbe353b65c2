"""The paper's numbers beside the model's: figures, tables, readings, caveats."""
