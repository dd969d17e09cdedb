"""Mockingjay: masked reconstruction of speech features, and its states as features.

Importing any part of it adds "mockingjay" to `espnet_ext.frontend.choices.frontend_choices`.
"""

from espnet_ext.ssl.frontend import MockingjayFrontend
from espnet_ext.ssl.upstream import MockingjayUpstream

__all__ = ["MockingjayFrontend", "MockingjayUpstream"]
