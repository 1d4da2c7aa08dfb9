"""The data plane: serves the API listeners and does nothing else.

No database, no master key, no second thread; requests are judged by a snapshot the controller
sends. `python -m flm.gateway` is started by the controller only.
"""
