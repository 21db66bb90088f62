"""The live page: what a browser is shown, and who may look."""
