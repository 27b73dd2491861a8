"""Text at the cursor: which way a model is asked, what of its text is given, and one completion at a time per slot."""
