"""ESPnet tasks: what can be configured, which data a model needs, and how it is loaded."""
