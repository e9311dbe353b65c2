"""Tables and pages that lay counted, predicted and published numbers side by side."""
