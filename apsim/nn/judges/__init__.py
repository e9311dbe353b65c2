"""Other implementations as judges of an import: what they make of the very same file.

The rule: nothing here knows the importers.  A judge reads the file by itself, in ONNX's
reference evaluator, onnxruntime or LiteRT; the network made of it is only what is judged.
"""
