"""Why engines are as they are: the words that several engines share.

A state holds its reason in English, filled in, for programs; people get it in their language by
the message itself, or by its template (`TEMPLATES`).
"""

from __future__ import annotations

from flm.errors import N_

BUSY = N_("busy")
NO_LIST = N_("its list of models cannot be read")
ANSWERED = N_("answered {status}")
REDIRECTED = N_("redirects to {where}")
KILLED = N_("it was killed, perhaps for want of memory")
ENDED = N_("it ended with code {code}")

TEMPLATES = (ANSWERED, REDIRECTED, ENDED)
"""Those that hold a value."""
