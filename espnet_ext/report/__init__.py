"""Tables, figures and results, made from what was measured and never typed."""
